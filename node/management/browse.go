package management

import (
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"warren/fsm"
	"warren/fsm/command"
	"warren/protocol/wire"
)

// Looking at messages without taking them, moving them, and asking where one would go have no resource in RabbitMQ.
func (s *server) browseRoutes() []route {
	return []route{
		handle(http.MethodGet, "queues/{vhost}/{queue}/messages", (*call).browse),
		handle(http.MethodPost, "queues/{vhost}/{queue}/move", (*call).move),
		handle(http.MethodPost, "exchanges/{vhost}/{exchange}/route", (*call).explain),
	}
}

// Limits of one look at a queue.
const (
	browseShown    = 50
	browseMost     = 500
	browseTruncate = 1 << 10         // bytes of a payload, unless asked for more
	browseTime     = 5 * time.Second // after which an answer has what was found
)

// browseStates are the states of messages by their names in the API.
var browseStates = map[string]fsm.MessageState{
	"ready": fsm.BrowseReady, "unacknowledged": fsm.BrowseUnacked, "parked": fsm.BrowseParked,
	"delayed": fsm.BrowseDelayed,
}

// browse answers with messages of a queue as they stand in it. Nothing changes by that: no order, no flag, no counter.
func (c *call) browse() error {
	info, err := c.findQueue()
	if err != nil {
		return err
	}
	if info.Exclusive && !c.isAdmin() { // nobody else could get them either
		return notAuthorised(fmt.Sprintf("queue '%s' is exclusive to a connection: only an administrator may look at its messages", info.Name))
	}
	if err := c.permit(&command.Get{VHost: c.params["vhost"], Queue: c.params["queue"]}); err != nil {
		return err
	}
	q, show, err := c.browseQuery()
	if err != nil {
		return err
	}
	aged, err := parseAges(c.r.URL.Query(), time.Now())
	if err != nil {
		return err
	}
	found, next, err := c.browsePage(q, show, aged)
	if err != nil {
		return err
	}
	list := make([]object, len(found))
	for i := range found {
		if list[i], err = browsedObject(&found[i], show); err != nil {
			return err
		}
	}
	answer := object{"messages": list, "next": nil}
	if next != 0 {
		answer["next"] = strconv.FormatUint(next, 10)
	}
	return c.ok(answer)
}

// browsePage looks on until there are as many messages as are asked for, all were looked at, or it took too long.
func (c *call) browsePage(q *fsm.BrowseQuery, show *getRequest, aged ages) (found []fsm.BrowsedMessage, next uint64, err error) {
	until := time.Now().Add(browseTime)
	bytes, most := 0, q.Most
	for {
		var some []fsm.BrowsedMessage
		ok := false
		q.Most = most - len(found)
		c.view(func(m *fsm.Machine) { some, next, ok, err = m.Browse(c.params["vhost"], c.params["queue"], q) })
		if err != nil {
			return nil, 0, err
		}
		if !ok {
			return nil, 0, errNotFound
		}
		some = slices.DeleteFunc(some, func(b fsm.BrowsedMessage) bool { return !aged.fit(b.Message.Properties) })
		for i := range some {
			bytes += min(len(some[i].Message.Body), int(*show.Truncate))
		}
		found = append(found, some...)
		if next == 0 || len(found) == most || bytes > maxGetBytes || time.Now().After(until) || c.r.Context().Err() != nil {
			return found, next, nil
		}
		q.From = next
	}
}

// ages bound the timestamps that publishers set, in seconds since the Unix epoch; nil: no bound.
type ages struct{ since, until *float64 }

// parseAges reads min_age and max_age, in seconds before now.
func parseAges(v url.Values, now time.Time) (a ages, err error) {
	for name, to := range map[string]**float64{"min_age": &a.until, "max_age": &a.since} {
		text := v.Get(name)
		if text == "" {
			continue
		}
		age, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(age) || age < 0 {
			return a, errBadRequest("%s must be a number of seconds, not %q", name, text)
		}
		at := float64(now.Unix()) - age
		*to = &at
	}
	return a, nil
}

// fit reports whether a message is of that age. One without a timestamp is of no age.
func (a ages) fit(properties []byte) bool {
	if a.since == nil && a.until == nil {
		return true
	}
	p, err := wire.ParseProperties(properties)
	if err != nil || p.Present&wire.FlagTimestamp == 0 {
		return false
	}
	at := float64(p.Timestamp)
	return (a.since == nil || at >= *a.since) && (a.until == nil || at <= *a.until)
}

// browseQuery reads what to look at, and how to show it.
func (c *call) browseQuery() (*fsm.BrowseQuery, *getRequest, error) {
	v := c.r.URL.Query()
	q := &fsm.BrowseQuery{Most: browseShown}
	truncate := looseInt(browseTruncate)
	show := &getRequest{Encoding: "auto", Truncate: &truncate}
	for _, name := range strings.FieldsFunc(v.Get("state"), func(r rune) bool { return r == ',' }) {
		state, ok := browseStates[name]
		if !ok {
			return nil, nil, errBadRequest("state must be of ready, unacknowledged, parked, delayed, not %q", name)
		}
		q.States |= state
	}
	if q.States == 0 {
		q.States = fsm.BrowseReady | fsm.BrowseUnacked | fsm.BrowseParked | fsm.BrowseDelayed
	}
	var err error
	if s := v.Get("from"); s != "" {
		if q.From, err = strconv.ParseUint(s, 10, 64); err != nil {
			return nil, nil, errBadRequest("from must be what another answer has as next, not %q", s)
		}
	}
	if s := v.Get("count"); s != "" {
		if q.Most, err = strconv.Atoi(s); err != nil || q.Most < 1 || q.Most > browseMost {
			return nil, nil, errBadRequest("count must be a number from 1 to %d", browseMost)
		}
	}
	if s := v.Get("truncate"); s != "" {
		bytes, err := strconv.Atoi(s)
		if err != nil || bytes < 0 {
			return nil, nil, errBadRequest("truncate must be a number of bytes, not %q", s)
		}
		truncate = looseInt(bytes)
	}
	if s := v.Get("encoding"); s != "" {
		if show.Encoding = s; s != "auto" && s != "base64" {
			return nil, nil, errBadRequest("encoding must be auto or base64, not %q", s)
		}
	}
	body := filterBody{}
	for name, to := range map[string]**string{"exchange": &body.Exchange, "routing_key": &body.Key} {
		if v.Has(name) {
			text := v.Get(name)
			*to = &text
		}
	}
	if s := v.Get("headers"); s != "" {
		if err := item([]byte(s), "headers", &body.Headers); err != nil {
			return nil, nil, err
		}
	}
	q.Filter, err = body.filter()
	return q, show, err
}

// filterBody is what messages have to be like, as the API has it.
type filterBody struct {
	Exchange *string        `json:"exchange"`
	Key      *string        `json:"routing_key"`
	Headers  map[string]any `json:"headers"`
}

func (b *filterBody) filter() (f command.Filter, err error) {
	if f.ByExchange = b.Exchange != nil; f.ByExchange {
		f.Exchange = plainExchange(*b.Exchange)
	}
	if f.ByKey = b.Key != nil; f.ByKey {
		f.RoutingKey = *b.Key
	}
	f.Headers, err = tableFromJSON(b.Headers)
	return f, err
}

func browsedObject(b *fsm.BrowsedMessage, show *getRequest) (object, error) {
	o, err := messageObject(&command.Result{Message: b.Message, Redelivered: b.Redelivered}, b.Message.Body, show)
	if err != nil {
		return nil, err
	}
	delete(o, "message_count")
	for name, state := range browseStates {
		if state == b.State {
			o["state"] = name
		}
	}
	o["sequence"] = strconv.FormatUint(b.Sequence, 10) // more than a number of JSON holds exactly
	o["delivery_count"], o["acquired_count"] = b.Tries.Failed, b.Tries.Acquired
	o["expires_at"] = nil
	if b.Expires != 0 {
		o["expires_at"] = time.UnixMilli(b.Expires).UTC().Format("2006-01-02T15:04:05.000Z")
	}
	return o, nil
}
