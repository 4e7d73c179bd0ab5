package management

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"

	"warren/fsm"
	"warren/fsm/command"
	"warren/node/trace"
	"warren/protocol/wire"
)

// A trace of single messages has no resource in RabbitMQ.
func (s *server) traceRoutes() []route {
	return []route{
		handle(http.MethodGet, "trace", (*call).listTraces),
		handle(http.MethodGet, "trace/{vhost}", (*call).listTraces),
		handle(http.MethodGet, "trace/{vhost}/{name}", (*call).showTrace),
		handle(http.MethodPut, "trace/{vhost}/{name}", (*call).startTrace),
		handle(http.MethodDelete, "trace/{vhost}/{name}", (*call).deleteTrace),
		handle(http.MethodPost, "trace/{vhost}/{name}/stop", (*call).stopTrace),
		handle(http.MethodGet, "trace/{vhost}/{name}/events", (*call).traceEvents),
	}
}

// traceComponent is that of the parameters that are traces. It is not shown, as that of the firehose.
const traceComponent = "internal-trace"

// Bounds of traces.
const (
	traceSeconds     = 600 // for which one goes on, unless it is said
	traceSecondsMost = 24 * 3600
	traceMessages    = 100 // that one follows, unless it is said
	traceMost        = 1000
	traceEventsEach  = 50     // kept on each node for a message, on average
	traceEventsMost  = 10_000 // of one trace
	tracesMost       = 16     // that run at the same time
	traceShown       = 500    // events of one answer, unless it is said
)

// A Trace is a trace of single messages, as its parameter has it.
type Trace struct {
	VHost string `json:"-"`
	Name  string `json:"-"`

	ID       string `json:"id"`       // of this one, also among those of its name
	By       string `json:"by"`       // user who has started it
	Started  int64  `json:"started"`  // milliseconds since the Unix epoch
	Until    int64  `json:"until"`    // likewise: when it ends, or was ended
	Messages int    `json:"messages"` // most to follow
	traceFilter
}

// A traceFilter says which messages are meant. All that is there has to fit.
type traceFilter struct {
	Queue     string         `json:"queue,omitempty"`       // that they come to
	Exchange  *string        `json:"exchange,omitempty"`    // that they are published to
	Key       string         `json:"routing_key,omitempty"` // pattern, as of a topic exchange
	MessageID string         `json:"message_id,omitempty"`
	Headers   map[string]any `json:"headers,omitempty"`

	headers wire.Table
}

// Traces returns the traces of all vhosts. Those that cannot be understood are left out.
func Traces(m *fsm.Machine) []Trace {
	var all []Trace
	for _, vhost := range m.VHosts() {
		for _, p := range m.Parameters(vhost) {
			if p.Component != traceComponent {
				continue
			}
			t := Trace{VHost: vhost, Name: p.Name}
			if item([]byte(p.Value), "trace", &t) != nil || t.check() != nil {
				continue
			}
			all = append(all, t)
		}
	}
	return all
}

// check completes a filter.
func (f *traceFilter) check() (err error) {
	if f.Exchange != nil {
		name := plainExchange(*f.Exchange)
		f.Exchange = &name
	}
	f.headers, err = tableFromJSON(f.Headers)
	return err
}

// Events is how many events of the trace a node keeps.
func (t *Trace) Events() int { return min(max(t.Messages, 1)*traceEventsEach, traceEventsMost) }

// Machine is what the state machine is to follow.
func (t *Trace) Machine() fsm.Trace {
	of := fsm.Trace{
		ID: t.ID, VHost: t.VHost, Queue: t.Queue, Key: t.Key, MessageID: t.MessageID, Until: t.Until, Messages: t.Messages,
		Filter: command.Filter{Headers: t.headers},
	}
	if t.Exchange != nil {
		of.ByExchange, of.Exchange = true, *t.Exchange
	}
	return of
}

// Clear is the command that forgets the trace.
func (t *Trace) Clear() command.Command {
	return &command.ParameterClear{VHost: t.VHost, Component: traceComponent, Name: t.Name}
}

// put is the command that sets the trace.
func (t *Trace) put() (command.Command, error) {
	value, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	return &command.ParameterPut{VHost: t.VHost, Component: traceComponent, Name: t.Name, Value: string(value)}, nil
}

func (t *Trace) object(now time.Time) object {
	filter := object{}
	for name, v := range map[string]string{"queue": t.Queue, "routing_key": t.Key, "message_id": t.MessageID} {
		if v != "" {
			filter[name] = v
		}
	}
	if t.Exchange != nil {
		filter["exchange"] = *t.Exchange
	}
	if len(t.Headers) > 0 {
		filter["headers"] = t.Headers
	}
	state := "running"
	if t.Until <= now.UnixMilli() {
		state = "ended"
	}
	return object{
		"name": t.Name, "vhost": t.VHost, "state": state, "user": t.By, "filter": filter, "messages": t.Messages,
		"started_at": timeText(t.Started), "ends_at": timeText(t.Until),
	}
}

// timeText is a time, given in milliseconds since the Unix epoch.
func timeText(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }

func (c *call) traces() (all []Trace) {
	c.view(func(m *fsm.Machine) { all = Traces(m) })
	return all
}

func (c *call) listTraces() error {
	vhosts, err := c.vhostsAsked()
	if err != nil {
		return err
	}
	seen := make(map[string]bool)
	for _, v := range vhosts {
		seen[v] = true
	}
	list, now := []object{}, time.Now()
	for _, t := range c.traces() {
		if seen[t.VHost] {
			list = append(list, t.object(now))
		}
	}
	return c.list(list)
}

// findTrace returns the trace of the path.
func (c *call) findTrace() (*Trace, error) {
	if err := c.needVHost(c.params["vhost"]); err != nil {
		return nil, err
	}
	for _, t := range c.traces() {
		if t.VHost == c.params["vhost"] && t.Name == c.params["name"] {
			return &t, nil
		}
	}
	return nil, errNotFound
}

func (c *call) showTrace() error {
	t, err := c.findTrace()
	if err != nil {
		return err
	}
	return c.one(t.object(time.Now()))
}

// startTrace begins a trace. One of the name that there was before is forgotten.
func (c *call) startTrace() error {
	if err := c.needVHost(c.params["vhost"]); err != nil {
		return err
	}
	body := struct {
		traceFilter
		Seconds  int `json:"seconds"`
		Messages int `json:"messages"`
	}{Seconds: traceSeconds, Messages: traceMessages}
	if err := c.decode(&body); err != nil {
		return err
	}
	if body.Seconds < 1 || body.Seconds > traceSecondsMost {
		return errBadRequest("seconds must be a number from 1 to %d, not %d", traceSecondsMost, body.Seconds)
	}
	if body.Messages < 1 || body.Messages > traceMost {
		return errBadRequest("messages must be a number from 1 to %d, not %d", traceMost, body.Messages)
	}
	for what, text := range map[string]string{"name": c.params["name"], "queue": body.Queue, "routing_key": body.Key, "message_id": body.MessageID} {
		if err := shortEnough(what, text); err != nil {
			return err
		}
	}
	if err := body.check(); err != nil {
		return err
	}
	now := time.Now()
	t := Trace{
		VHost: c.params["vhost"], Name: c.params["name"], ID: uuid.NewString(), By: c.user, Started: now.UnixMilli(),
		Until: now.Add(time.Duration(body.Seconds) * time.Second).UnixMilli(), Messages: body.Messages, traceFilter: body.traceFilter,
	}
	existed, running := false, 0
	for _, other := range c.traces() {
		same := other.VHost == t.VHost && other.Name == t.Name
		existed = existed || same
		if !same && other.Until > t.Started {
			running++
		}
	}
	if running >= tracesMost {
		return errBadRequest("%d traces are running, and no more may: stop one", running)
	}
	if err := c.putTrace(&t); err != nil {
		return err
	}
	return c.declared(existed)
}

func (c *call) putTrace(t *Trace) error {
	cmd, err := t.put()
	if err != nil {
		return err
	}
	_, err = c.propose(cmd)
	return err
}

// stopTrace ends a trace; what it has found stays.
func (c *call) stopTrace() error {
	t, err := c.findTrace()
	if err != nil {
		return err
	}
	if now := time.Now().UnixMilli(); t.Until > now {
		t.Until = now
		if err := c.putTrace(t); err != nil {
			return err
		}
	}
	return c.none()
}

func (c *call) deleteTrace() error {
	t, err := c.findTrace()
	if err != nil {
		return err
	}
	if _, err := c.propose(t.Clear()); err != nil {
		return err
	}
	return c.none()
}

// traceEvents answers with what happened, in the order of the log, and with what the nodes know of the trace.
func (c *call) traceEvents() error {
	t, err := c.findTrace()
	if err != nil {
		return err
	}
	v := c.r.URL.Query()
	most := traceShown
	if s := v.Get("count"); s != "" {
		if most, err = strconv.Atoi(s); err != nil || most < 1 || most > traceEventsMost {
			return errBadRequest("count must be a number from 1 to %d", traceEventsMost)
		}
	}
	story, err := c.cfg.Broker.TraceStory(c.r.Context(), t.ID)
	if err != nil {
		return err
	}
	if s := v.Get("message"); s != "" {
		story.Of(s)
	}
	if s := v.Get("after"); s != "" && !story.After(s) {
		return errBadRequest("after must be what another answer has as next, not %q", s)
	}
	more := len(story.Events) > most
	if more {
		story.Events = story.Events[:most]
	}
	events, nodes := []object{}, []object{}
	for i := range story.Events {
		events = append(events, traceEventObject(t.VHost, &story.Events[i]))
	}
	for _, p := range story.Parts {
		nodes = append(nodes, object{"name": p.Node, "since_index": p.Since, "from_start": p.Whole, "lost": p.Lost})
	}
	answer := object{"events": events, "nodes": nodes, "complete": story.Complete, "more": more, "next": nil}
	if n := len(story.Events); n > 0 {
		answer["next"] = story.Events[n-1].Cursor()
	} else if s := v.Get("after"); s != "" {
		answer["next"] = s
	}
	return c.ok(answer)
}

// traceEventObject is an event as the API has it: what does not belong to it is not there.
func traceEventObject(vhost string, e *trace.Event) object {
	o := object{"time": timeText(e.Time), "index": e.Index, "event": string(e.Event), "message": e.Message}
	text := func(name, value string) {
		if value != "" {
			o[name] = value
		}
	}
	text("message_id", e.MessageID)
	if e.Exchange != "" || e.Default {
		o["exchange"], o["routing_key"] = e.Exchange, e.Key
	}
	switch e.Event {
	case fsm.EventPublished, fsm.EventRefused, fsm.EventFound:
		o["payload_bytes"] = e.Size
	case fsm.EventDelivered, fsm.EventGot:
		o["redelivered"], o["acquired_count"], o["delivery_count"] = e.Redelivered, e.Acquired, e.Failed
		o["auto_ack"] = e.Ordinal == 0
	}
	text("queue", e.Queue)
	if e.Queue != "" && e.Sequence != 0 {
		o["sequence"] = strconv.FormatUint(e.Sequence, 10) // more than a number of JSON holds exactly
	}
	if len(e.Queues) > 0 {
		o["queues"] = e.Queues
	}
	if len(e.Hops) > 0 {
		o["why"] = hopObjects(e.Hops)
	}
	text("reason", e.Reason)
	if e.Until != 0 {
		o["until"] = timeText(e.Until)
	}
	text("node", e.Node)
	text("connection", e.Connection)
	text("user", e.User)
	if e.Conn != 0 {
		if e.Connection == "" {
			o["connection"] = fmt.Sprintf("connection %d of node %s", e.Conn, e.Node)
		}
		o["channel"] = e.Channel
	}
	text("consumer_tag", e.Tag)
	if e.Ordinal != 0 {
		o["delivery"] = e.Ordinal
	}
	return o
}

func hopObjects(hops []fsm.TraceHop) []object {
	all := []object{}
	for i := range hops {
		h := &hops[i]
		kind := "queue"
		if h.ToExchange {
			kind = "exchange"
		}
		args := object{}
		if t, _, err := wire.ParseTable(h.Args); err == nil && len(h.Args) > 0 {
			args = tableToJSON(t)
		}
		all = append(all, object{
			"why": string(h.Why), "source": h.Source, "destination": h.Destination, "destination_type": kind,
			"routing_key": h.Key, "arguments": args,
		})
	}
	return all
}
