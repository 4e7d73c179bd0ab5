package management

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"warren/fsm"
	"warren/fsm/access"
	"warren/fsm/command"
)

// moveBody is the body of a move.
type moveBody struct {
	To struct {
		Queue    *string `json:"queue"`
		Exchange *string `json:"exchange"`
		Key      *string `json:"routing_key"`
		Redrive  string  `json:"redrive"` // first or last: the death after which to go on
	} `json:"to"`
	State  string     `json:"state"`
	Filter filterBody `json:"filter"`
	Count  *int       `json:"count"`
	From   string     `json:"from"`
}

// Limits of one request that moves messages.
const (
	moveTime = 20 * time.Second // after which an answer has what was done
	moveStep = 1000             // messages of one log entry
)

// command makes the command of the first step.
func (b *moveBody) command(c *call) (*command.Move, error) {
	m := &command.Move{VHost: c.params["vhost"], Queue: c.params["queue"]}
	switch b.State {
	case "", "ready":
	case "parked":
		m.Parked = true
	default:
		return nil, errBadRequest("messages that are ready or parked can be moved, not those that are %q", b.State)
	}
	to := &b.To
	switch {
	case to.Redrive != "" && to.Exchange == nil && to.Key == nil:
		kinds := map[string]command.MoveTo{"first": command.ToFirstDeath, "last": command.ToLastDeath}
		if m.To = kinds[to.Redrive]; m.To == 0 {
			return nil, errBadRequest("redrive must be first or last, not %q", to.Redrive)
		}
		if to.Queue != nil {
			m.Target = *to.Queue
		}
	case to.Queue != nil && to.Exchange == nil && to.Key == nil && to.Redrive == "":
		m.Target = *to.Queue
	case to.Exchange != nil && to.Queue == nil && to.Redrive == "":
		m.To = command.ToExchange
		m.Target = plainExchange(*to.Exchange)
		if m.SetKey = to.Key != nil; m.SetKey {
			m.Key = *to.Key
		}
	default:
		return nil, errBadRequest("to must be a queue, an exchange with or without a routing_key, or redrive with or without a queue")
	}
	var err error
	if b.From != "" {
		if m.From, err = strconv.ParseUint(b.From, 10, 64); err != nil {
			return nil, errBadRequest("from must be what another answer has as next, not %q", b.From)
		}
	}
	if err := shortEnough("routing_key", m.Key); err != nil {
		return nil, err
	}
	m.Filter, err = b.Filter.filter()
	return m, err
}

// move moves messages to another queue, through an exchange, or back to where dead letters died. Each step is one log entry, in
// which messages leave the one and enter the others, so what was done stays done, whatever ends the rest.
func (c *call) move() error {
	info, err := c.findQueue()
	if err != nil {
		return err
	}
	var body moveBody
	if err := c.decode(&body); err != nil {
		return err
	}
	cmd, err := body.command(c)
	if err != nil {
		return err
	}
	if err := c.mayMove(cmd); err != nil {
		return err
	}
	count := info.Ready // what comes later stays
	if cmd.Parked {
		count = info.Parked
	}
	if body.Count != nil {
		if *body.Count < 1 {
			return errBadRequest("count must be a positive number")
		}
		count = *body.Count
	}
	answer, err := c.moveAll(cmd, count)
	if err != nil {
		return err
	}
	return c.ok(answer)
}

// mayMove checks what the needs of the command do not tell: where dead letters without a named queue may go, and the
// topic permissions for routing keys that are the messages' own.
func (c *call) mayMove(cmd *command.Move) error {
	if cmd.To >= command.ToFirstDeath && cmd.Target == "" {
		if err := policymakers(c); err != nil {
			return notAuthorised(fmt.Sprintf("a policymaker may move dead letters to any queue, user '%s' has to name one", c.user))
		}
	}
	if cmd.To != command.ToExchange || cmd.SetKey {
		return nil
	}
	limited := false
	c.view(func(m *fsm.Machine) {
		limited = slices.ContainsFunc(m.Access().UserTopicPermissions(c.user), func(p access.TopicPermission) bool {
			return p.VHost == cmd.VHost && p.Exchange == cmd.Target
		})
	})
	if limited {
		return notAuthorised(fmt.Sprintf("topic permissions of user '%s' on exchange '%s': name the routing_key", c.user, cmd.Target))
	}
	return nil
}

// moveAll proposes steps until so many messages were moved, all were looked at, a queue is full or time is up.
func (c *call) moveAll(cmd *command.Move, count int) (object, error) {
	until := time.Now().Add(moveTime)
	moved, kept, full, done := 0, 0, false, count == 0
	for !done {
		cmd.Most = uint32(min(count-moved, moveStep))
		res, err := c.propose(cmd)
		if err != nil {
			if moved > 0 { // it is done, and to be told
				return nil, &failure{http.StatusServiceUnavailable, "service_unavailable", fmt.Sprintf("%d messages were moved, then: %v", moved, err)}
			}
			return nil, err
		}
		moved, kept = moved+int(res.Messages), kept+int(res.Kept)
		cmd.From = res.Next
		full = res.Rejected && res.Messages == 0
		if done = res.Next == 0 || moved >= count || full; time.Now().After(until) {
			break
		}
	}
	answer := object{"moved": moved, "kept": kept, "full": full, "done": done, "next": nil}
	if cmd.From != 0 {
		answer["next"] = strconv.FormatUint(cmd.From, 10)
	}
	return answer, nil
}
