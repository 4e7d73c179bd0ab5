package fsmtest

import (
	"fmt"
	"strings"

	"warren/fsm"
	"warren/fsm/command"
	"warren/fsm/topology"
	"warren/protocol/wire"
)

// Format writes an output for people: the verdict when there are no results, and
// else each result with the effects of its command behind it.
func Format(out *fsm.Output) string {
	var b strings.Builder
	if out.Verdict != fsm.Applied && out.Verdict != fsm.Unsequenced {
		fmt.Fprintln(&b, out.Verdict)
	}
	effects := out.Effects
	for len(effects) > 0 && effects[0].Command < 0 {
		fmt.Fprintln(&b, "in time: "+formatEffect(&effects[0]))
		effects = effects[1:]
	}
	for i := range out.Results {
		fmt.Fprintln(&b, formatResult(&out.Results[i]))
		for len(effects) > 0 && effects[0].Command == i {
			fmt.Fprintln(&b, "  "+formatEffect(&effects[0]))
			effects = effects[1:]
		}
	}
	for i := range effects {
		fmt.Fprintln(&b, "effect of no command: "+formatEffect(&effects[i]))
	}
	return b.String()
}

func formatResult(r *command.Result) string {
	if r.Err != nil {
		return fmt.Sprintf("error %d %s", r.Err.Code, strings.ReplaceAll(r.Err.Text, "\n", `\n`))
	}
	parts := []string{"ok"}
	switch r.Kind {
	case command.KindQueueDeclare:
		parts = append(parts, r.Name, fmt.Sprintf("messages=%d consumers=%d", r.Messages, r.Consumers))
	case command.KindQueueDelete, command.KindQueuePurge:
		parts = append(parts, fmt.Sprintf("messages=%d", r.Messages))
	case command.KindMove:
		parts = append(parts, fmt.Sprintf("moved=%d kept=%d next=%d", r.Messages, r.Kept, r.Next))
	case command.KindGet:
		if r.Message == nil {
			parts = append(parts, "empty")
			break
		}
		parts = append(parts, formatMessage(r.Message), fmt.Sprintf("left=%d", r.Messages))
		parts = append(parts, formatOrdinal(r.Ordinal, r.Redelivered)...)
		if t := formatTries(r.Acquired, r.Failed); t != "" {
			parts = append(parts, t[1:])
		}
	default:
		if r.Message != nil {
			parts = append(parts, formatMessage(r.Message))
		}
	}
	if r.Unroutable {
		parts = append(parts, "unroutable")
	}
	if r.Rejected {
		parts = append(parts, "rejected")
	}
	for _, m := range r.Returned {
		parts = append(parts, "returned", formatMessage(m))
	}
	return strings.Join(parts, " ")
}

func formatTries(acquired, failed uint32) string {
	if acquired == 0 {
		return ""
	}
	return fmt.Sprintf(" again=%d/%d", failed, acquired)
}

func formatOrdinal(ordinal uint64, redelivered bool) []string {
	var parts []string
	if ordinal != 0 {
		parts = append(parts, fmt.Sprintf("#%d", ordinal))
	}
	if redelivered {
		parts = append(parts, "redelivered")
	}
	return parts
}

func formatMessage(m *command.Message) string {
	text := fmt.Sprintf("%q/%s=%s", m.Exchange, m.Key, m.Body)
	rows, _ := wire.Header(m.Properties, "x-death")
	if deaths, ok := rows.(wire.Array); ok {
		text += " died"
		for _, row := range deaths {
			text += fmt.Sprintf(" %v", row)
		}
	}
	return text
}

func formatOwner(o command.Owner) string {
	return fmt.Sprintf("%d:%d/%d", o.Epoch, o.Conn, o.Number)
}

func formatEffect(e *command.Effect) string {
	switch e.Kind {
	case command.EffectDeliver:
		parts := append([]string{"deliver", formatOwner(e.To), e.Tag, e.Queue, formatMessage(e.Message)},
			formatOrdinal(e.Ordinal, e.Redelivered)...)
		return strings.Join(parts, " ") + formatTries(e.Acquired, e.Failed)
	case command.EffectCancel:
		return strings.Join([]string{"cancel", formatOwner(e.To), e.Tag, e.Queue}, " ")
	case command.EffectOverdue:
		return strings.Join([]string{"overdue", formatOwner(e.To), fmt.Sprintf("%q", e.Tag), e.Queue, fmt.Sprintf("after %d ms", e.Nonce)}, " ")
	case command.EffectEpochOpened:
		return fmt.Sprintf("epoch %d of %s opened, nonce %d", e.To.Epoch, e.Node, e.Nonce)
	case command.EffectEpochRemoved:
		return fmt.Sprintf("epoch %d of %s removed", e.To.Epoch, e.Node)
	case command.EffectAccess:
		return "access changed"
	case command.EffectVHostDeleted:
		return fmt.Sprintf("vhost %s deleted", e.Tag)
	case command.EffectLimited:
		return "limits were set"
	default:
		return fmt.Sprintf("effect of unknown kind %d", e.Kind)
	}
}

func refusedText(sequence uint64) string {
	if sequence == 0 {
		return ""
	}
	return fmt.Sprintf(", refused %d", sequence)
}

// Dump writes the state of a machine for people.
func Dump(m *fsm.Machine) string {
	var b strings.Builder
	fmt.Fprintf(&b, "index %d, now %d", m.Index(), m.Now())
	if m.Version() > 1 {
		fmt.Fprintf(&b, ", version %d", m.Version())
	}
	fmt.Fprintln(&b)
	for _, e := range m.Epochs() {
		fmt.Fprintf(&b, "epoch %d of %s, sequence %d%s%s\n", e.Epoch, e.Node, e.Sequence, refusedText(e.Refused), flagText(e.Witness, "witness"))
		for _, conn := range m.Connections(e.Epoch) {
			dumpConnection(&b, m.ConnState(e.Epoch, conn))
		}
	}
	for _, e := range m.Ended() {
		fmt.Fprintf(&b, "ended epoch %d of %s, sequence %d%s\n", e.Epoch, e.Node, e.Sequence, refusedText(e.Refused))
	}
	dumpAccess(&b, m)
	dumpCounts(&b, m)
	dumpParameters(&b, m.GlobalParameters(), "global parameter")
	for _, vhost := range m.VHosts() {
		dumpVHost(&b, m, vhost)
	}
	return b.String()
}

func flagText(set bool, name string) string {
	if set {
		return " " + name
	}
	return ""
}

func dumpConnection(b *strings.Builder, c *command.ConnState) {
	fmt.Fprintf(b, "  connection %d", c.Conn)
	if len(c.Exclusive) > 0 {
		fmt.Fprintf(b, ", exclusive %s", strings.Join(c.Exclusive, " "))
	}
	fmt.Fprintln(b)
	for _, ch := range c.Channels {
		fmt.Fprintf(b, "    channel %d, ordinal %d\n", ch.Number, ch.Ordinal)
		for _, s := range ch.Consumers {
			fmt.Fprintf(b, "      consumer %s of %s, delivered %d of %d\n", s.Tag, s.Queue, s.Delivered, s.Limit)
		}
		for i := range ch.Unsettled {
			fmt.Fprintf(b, "      unsettled %s\n", formatEffect(&ch.Unsettled[i]))
		}
	}
}

func dumpVHost(b *strings.Builder, m *fsm.Machine, vhost string) {
	info, _ := m.VHost(vhost)
	dumpMetadata(b, &info)
	for _, operator := range []bool{false, true} {
		for _, p := range m.Policies(vhost, operator) {
			fmt.Fprintf(b, "  policy%s %s %q to %s, priority %d: %v\n", flagText(operator, "operator"), p.Name, p.Pattern, p.ApplyTo, p.Priority, p.Definition)
		}
	}
	dumpParameters(b, m.Parameters(vhost), "  parameter")
	for _, x := range m.Exchanges(vhost) {
		if x.Name == "" || strings.HasPrefix(x.Name, "amq.") {
			continue
		}
		fmt.Fprintf(b, "  exchange %s %s%s%s%s\n", x.Name, x.Type, flagText(x.Durable, "durable"),
			flagText(x.AutoDelete, "auto-delete"), flagText(x.Internal, "internal"))
		if n := m.History(vhost, x.Name); n > 0 {
			fmt.Fprintf(b, "    keeps %d messages\n", n)
		}
	}
	bindings := m.Bindings(vhost)
	topology.SortBindings(bindings)
	for _, x := range bindings {
		if x.Source != "" {
			fmt.Fprintf(b, "  binding %s -> %s %q%s\n", x.Source, x.Destination, x.Key, flagText(x.ToExchange, "exchange"))
		}
	}
	delayed, _ := m.Delayed(vhost, nil, -1)
	for _, d := range delayed {
		fmt.Fprintf(b, "  delayed %d until %d: %q/%s, %d bytes\n", d.ID, d.Due, d.Exchange, d.Key, d.Bytes)
	}
	for _, q := range m.Queues(vhost) {
		fmt.Fprintf(b, "  queue %s%s%s%s ready=%d unacked=%d bytes=%d+%d consumers=%d\n", q.Name,
			flagText(q.Durable, "durable"), flagText(q.AutoDelete, "auto-delete"), flagText(q.Exclusive, "exclusive"),
			q.Ready, q.Unacked, q.ReadyBytes, q.UnackedBytes, q.Consumers)
		if q.Policy != "" || q.OperatorPolicy != "" {
			fmt.Fprintf(b, "    policy %q, operator policy %q: %v\n", q.Policy, q.OperatorPolicy, q.Effective)
		}
		if q.Delayed > 0 {
			fmt.Fprintf(b, "    delayed=%d bytes=%d\n", q.Delayed, q.DelayedBytes)
		}
		if q.Parked > 0 {
			fmt.Fprintf(b, "    parked=%d bytes=%d\n", q.Parked, q.ParkedBytes)
		}
		fmt.Fprintf(b, "    published=%d delivered=%d+%d got=%d+%d empty=%d redelivered=%d acked=%d rejected=%d requeued=%d purged=%d\n",
			q.Published, q.Delivered, q.DeliveredAuto, q.Got, q.GotAuto, q.GotEmpty, q.Redelivered,
			q.Acked, q.Rejected, q.Requeued, q.Purged)
	}
}
