package session

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"warren/protocol/wire"
)

// Info describes a connection. The JSON names are those of RabbitMQ's
// management API (https://www.rabbitmq.com/docs/http-api-reference).
type Info struct {
	ID            uint64 `json:"id"`
	Name          string `json:"name"` // "peer:port -> host:port"
	User          string `json:"user"`
	VHost         string `json:"vhost"`
	State         string `json:"state"` // starting, running, flow, blocking, blocked, closing, closed
	Node          string `json:"node"`
	Type          string `json:"type"` // "network"
	Protocol      string `json:"protocol"`
	AuthMechanism string `json:"auth_mechanism"`
	SSL           bool   `json:"ssl"`
	TLSInfo
	PeerHost         string         `json:"peer_host"`
	PeerPort         int            `json:"peer_port"`
	Host             string         `json:"host"`
	Port             int            `json:"port"`
	Channels         int            `json:"channels"`
	ChannelMax       int            `json:"channel_max"`
	FrameMax         int            `json:"frame_max"`
	Timeout          int            `json:"timeout"` // heartbeat in seconds
	ClientProperties map[string]any `json:"client_properties"`
	UserProvidedName string         `json:"user_provided_name,omitempty"`
	ReceivedBytes    uint64         `json:"recv_oct"`
	ReceivedPackets  uint64         `json:"recv_cnt"`
	SentBytes        uint64         `json:"send_oct"`
	SentPackets      uint64         `json:"send_cnt"`
	Rates            Rates          `json:"rates"`
	SendPending      int            `json:"send_pend"`    // bytes
	ConnectedAt      int64          `json:"connected_at"` // milliseconds since the Unix epoch
	ChannelInfos     []ChannelInfo  `json:"channel_infos"`
}

// ChannelInfo describes a channel, with the JSON names of RabbitMQ's management API.
type ChannelInfo struct {
	Number        uint16            `json:"number"`
	Name          string            `json:"name"` // the connection's and " (1)"
	User          string            `json:"user"`
	VHost         string            `json:"vhost"`
	Node          string            `json:"node"`
	State         string            `json:"state"` // running, closing
	Connection    ConnectionDetails `json:"connection_details"`
	Prefetch      int               `json:"prefetch_count"`
	GlobalQos     int               `json:"global_prefetch_count"`
	Unacked       int               `json:"messages_unacknowledged"`
	Unconfirmed   int               `json:"messages_unconfirmed"`
	Uncommitted   int               `json:"messages_uncommitted"`
	AcksPending   int               `json:"acks_uncommitted"`
	Consumers     int               `json:"consumer_count"`
	Confirm       bool              `json:"confirm"`
	Transactional bool              `json:"transactional"`

	Counts map[string]uint64  `json:"counts"` // by the names of Count; those that are not 0
	Rates  map[string]float64 `json:"rates"`  // of them, in a second
}

// Rates are how much goes over a socket in a second.
type Rates struct {
	ReceivedBytes   float64 `json:"recv_oct"`
	ReceivedPackets float64 `json:"recv_cnt"`
	SentBytes       float64 `json:"send_oct"`
	SentPackets     float64 `json:"send_cnt"`
}

// A Ref names a connection and what it is looked for by. Unlike Info it asks nobody.
type Ref struct {
	ID          uint64   `json:"id"`
	Node        string   `json:"node"`
	Name        string   `json:"name"`
	User        string   `json:"user"` // empty before connection.open, as VHost
	VHost       string   `json:"vhost"`
	PeerHost    string   `json:"peer_host"`
	PeerPort    int      `json:"peer_port"`
	ConnectedAt int64    `json:"connected_at"` // milliseconds since the Unix epoch
	Channels    []uint16 `json:"channels"`     // numbers, sorted
}

// Traffic returns what the connection has received and sent: bytes and reads, bytes and writes.
func (s *Session) Traffic() [4]uint64 { return s.stats.traffic() }

// Ref returns the reference to the connection as it is now.
func (s *Session) Ref() Ref {
	i := &s.base
	r := Ref{
		ID: i.ID, Node: i.Node, Name: i.Name, PeerHost: i.PeerHost, PeerPort: i.PeerPort, ConnectedAt: i.ConnectedAt,
		Channels: s.open.list(),
	}
	r.VHost, r.User = s.Place()
	return r
}

// openChannels are the numbers of the channels of a connection, for any goroutine.
type openChannels struct {
	mu      sync.Mutex
	numbers []uint16 // sorted
}

func (o *openChannels) list() []uint16 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.numbers)
}

func (o *openChannels) add(number uint16) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if at, there := slices.BinarySearch(o.numbers, number); !there {
		o.numbers = slices.Insert(o.numbers, at, number)
	}
}

func (o *openChannels) remove(number uint16) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if at, there := slices.BinarySearch(o.numbers, number); there {
		o.numbers = slices.Delete(o.numbers, at, at+1)
	}
}

// ConnectionDetails names a channel's connection.
type ConnectionDetails struct {
	Name     string `json:"name"`
	PeerHost string `json:"peer_host"`
	PeerPort int    `json:"peer_port"`
}

// Info returns what the connection and its channels are like now.
func (s *Session) Info() Info {
	answer := make(chan Info, 1)
	if !s.conn.running.Load() || !s.inbox.ask(func(r *requests) { r.infos = append(r.infos, answer) }) {
		return s.staticInfo()
	}
	select {
	case i := <-answer:
		return i
	case <-s.done:
		return s.staticInfo()
	}
}

// staticInfo is Info before the loop runs, and after.
func (s *Session) staticInfo() Info {
	i := s.base
	i.State = "starting"
	select {
	case <-s.done:
		i.State = "closed"
	default:
	}
	s.addStats(&i)
	return i
}

func (s *Session) addStats(i *Info) {
	i.ReceivedBytes, i.ReceivedPackets = s.stats.received.Load(), s.stats.receivedReads.Load()
	i.SentBytes, i.SentPackets = s.stats.sent.Load(), s.stats.sentWrites.Load()
}

func baseInfo(cfg Config, now time.Time) Info {
	i := Info{
		ID: cfg.ID, Node: cfg.Node, Type: "network", Protocol: "AMQP 0-9-1",
		ConnectedAt: now.UnixMilli(), ClientProperties: map[string]any{},
	}
	_, i.SSL = cfg.Conn.(*tls.Conn)
	i.PeerHost, i.PeerPort = hostPort(cfg.Conn.RemoteAddr())
	i.Host, i.Port = hostPort(cfg.Conn.LocalAddr())
	i.Name = fmt.Sprintf("%s -> %s", endName(cfg.Conn.RemoteAddr()), endName(cfg.Conn.LocalAddr()))
	return i
}

func hostPort(a net.Addr) (string, int) {
	if a == nil {
		return "", 0
	}
	host, port, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String(), 0
	}
	n, _ := strconv.Atoi(port) // 0 when it is not a number
	return host, n
}

// endName is "ip:port" as RabbitMQ writes it, that is without brackets around IPv6.
func endName(a net.Addr) string {
	host, port := hostPort(a)
	return host + ":" + strconv.Itoa(port)
}

// jsonTable turns a field table into what encoding/json can write.
func jsonTable(t wire.Table) map[string]any {
	m := make(map[string]any, len(t))
	for _, f := range t {
		m[f.Name] = jsonValue(f.Value)
	}
	return m
}

func jsonValue(v any) any {
	switch v := v.(type) {
	case wire.Table:
		return jsonTable(v)
	case wire.Array:
		a := make([]any, len(v))
		for i := range v {
			a[i] = jsonValue(v[i])
		}
		return a
	case []byte:
		return base64.StdEncoding.EncodeToString(v)
	case string:
		if !utf8.ValidString(v) {
			return base64.StdEncoding.EncodeToString([]byte(v))
		}
	case float32:
		return jsonFloat(float64(v))
	case float64:
		return jsonFloat(v)
	}
	return v
}

// jsonFloat keeps numbers that JSON cannot write as text.
func jsonFloat(v float64) any {
	if v-v != 0 { // an infinity or not a number
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	return v
}

// info describes the connection, in the loop.
func (c *connection) info() Info {
	i := c.s.base
	i.User, i.VHost, i.AuthMechanism = c.user, c.vhost, c.mechanism
	i.State = c.stateName()
	i.TLSInfo = tlsInfo(c.tls)
	i.Channels = len(c.channels)
	i.ChannelMax, i.FrameMax = c.channelMax, c.frameMax
	i.Timeout = int(c.heartbeat / time.Second)
	i.ClientProperties = jsonTable(c.properties)
	i.UserProvidedName = c.providedName()
	i.SendPending = c.out.Buffered()
	c.s.addStats(&i)
	now, before := c.s.stats.traffic(), &c.traffic.before
	i.Rates = Rates{
		ReceivedBytes: c.span.perSecond(before[0], now[0]), ReceivedPackets: c.span.perSecond(before[1], now[1]),
		SentBytes: c.span.perSecond(before[2], now[2]), SentPackets: c.span.perSecond(before[3], now[3]),
	}
	for _, n := range slices.Sorted(maps.Keys(c.channels)) {
		i.ChannelInfos = append(i.ChannelInfos, c.channels[n].info(&i))
	}
	return i
}

func (c *connection) stateName() string {
	switch {
	case c.state == stateFinishing || c.state == stateDraining:
		return "closing"
	case c.state == stateClosing:
		return "closed"
	case c.blocked != "" && c.publisher:
		return "blocked"
	case c.blocked != "":
		return "blocking"
	case c.room != nil || c.flying():
		return "flow"
	}
	return "running"
}

func (ch *channel) info(conn *Info) ChannelInfo {
	i := ChannelInfo{
		Number: ch.number, Name: fmt.Sprintf("%s (%d)", conn.Name, ch.number),
		User: conn.User, VHost: conn.VHost, Node: conn.Node, State: "running",
		Connection: ConnectionDetails{Name: conn.Name, PeerHost: conn.PeerHost, PeerPort: conn.PeerPort},
		Prefetch:   int(ch.prefetch), GlobalQos: int(ch.global),
		Unacked: ch.unacked.len(), Unconfirmed: ch.unconfirmed(), Consumers: len(ch.consumers),
		Confirm: ch.confirms.on, Transactional: ch.tx != nil,
		Counts: ch.counts.Named(), Rates: ch.rates(),
	}
	if !ch.open {
		i.State = "closing"
	}
	if ch.tx != nil {
		i.Uncommitted, i.AcksPending = ch.tx.publishes, len(ch.tx.settled)
	}
	return i
}
