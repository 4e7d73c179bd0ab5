package history

import (
	"strings"
	"testing"
	"time"
)

// A builder makes a history by hand; each event comes a millisecond after the one before.
type builder struct {
	events []Event
	now    time.Duration
}

func (b *builder) add(e Event) *builder {
	b.now += time.Millisecond
	e.At = b.now
	b.events = append(b.events, e)
	return b
}

func (b *builder) publish(channel int, id uint64, to ...string) *builder {
	return b.add(Event{Kind: Published, Channel: channel, Message: id, To: to})
}

func (b *builder) mandatory(channel int, id uint64, to ...string) *builder {
	return b.add(Event{Kind: Published, Channel: channel, Message: id, To: to, Mandatory: true})
}

// of adds an event about a message that is told to its publisher.
func (b *builder) told(kind Kind, id uint64) *builder {
	return b.add(Event{Kind: kind, Channel: 1, Message: id})
}

func (b *builder) consume(channel int) *builder {
	return b.add(Event{Kind: Consuming, Channel: channel, Queue: "q"})
}

func (b *builder) deliver(channel int, id uint64) *builder {
	return b.add(Event{Kind: Delivered, Channel: channel, Queue: "q", Message: id})
}

func (b *builder) again(channel int, id uint64) *builder {
	return b.add(Event{Kind: Delivered, Channel: channel, Queue: "q", Message: id, Redelivered: true})
}

// holds has a channel consume that may hold so many messages.
func (b *builder) holds(channel, prefetch int) *builder {
	return b.add(Event{Kind: Consuming, Channel: channel, Queue: "q", Prefetch: prefetch})
}

// late has message 7, which was delivered on channel 2, come back behind more of the later ones than the consumer may hold.
func late(back *builder) *builder {
	b := (&builder{}).sent(7, 8, 9, 10).holds(2, 2).deliver(2, 7)
	for _, e := range back.events {
		b.add(e)
	}
	return b.deliver(2, 8).deliver(2, 9).deliver(2, 10).again(2, 7).ack(2, 7).ack(2, 8).ack(2, 9).ack(2, 10)
}

// settle adds what a consumer answers to a delivery.
func (b *builder) settle(kind Kind, channel int, id uint64) *builder {
	return b.add(Event{Kind: kind, Channel: channel, Queue: "q", Message: id})
}

func (b *builder) ack(channel int, id uint64) *builder { return b.settle(Acked, channel, id) }
func (b *builder) on(kind Kind, channel int) *builder {
	return b.add(Event{Kind: kind, Channel: channel})
}

// sent is a confirmed message for the queue.
func (b *builder) sent(ids ...uint64) *builder {
	for _, id := range ids {
		b.publish(1, id, "q").told(Confirmed, id)
	}
	return b
}

func (b *builder) wait(d time.Duration) *builder {
	b.now += d
	return b
}

// TestCheck: each check finds what it is there to find, and is content with what may be.
func TestCheck(t *testing.T) {
	h := func() *builder { return &builder{} }
	const good = ""
	cases := []struct {
		name string
		b    *builder
		want string // part of the one complaint; empty: none
	}{
		{"nothing", h(), good},
		{"one message", h().sent(7).consume(2).deliver(2, 7).ack(2, 7).on(Synced, 2).on(Ended, 2), good},

		{"lost", h().sent(7), "lost: queue q: message 7 was confirmed and never arrived"},
		{"not confirmed, not there", h().publish(1, 7, "q").on(Broken, 1), good},
		{"not confirmed, but there", h().publish(1, 7, "q").on(Broken, 1).deliver(2, 7).ack(2, 7), good},
		{"confirmed, arrived, never acknowledged", h().sent(7).consume(2).deliver(2, 7).on(Broken, 2), "lost: queue q: message 7 arrived 1 times, was never acknowledged"},
		{"lost after its second arrival",
			h().sent(7).consume(2).deliver(2, 7).ack(2, 7).on(Broken, 2).consume(3).again(3, 7).on(Synced, 3).on(Broken, 3),
			"lost: queue q: message 7 arrived, was not acknowledged after that"},
		{"lost after a requeue", h().sent(7).consume(2).deliver(2, 7).settle(Requeued, 2, 7).on(Synced, 2), "was never acknowledged, and is gone"},
		{"an ack that nobody answered may have worked", h().sent(7).consume(2).deliver(2, 7).ack(2, 7).on(Broken, 2), good},
		{"refused for dead-lettering", h().sent(7).consume(2).deliver(2, 7).settle(Rejected, 2, 7).on(Synced, 2), good},

		{"twice", h().sent(7).consume(2).deliver(2, 7).deliver(2, 7).ack(2, 7), "duplicated: queue q: message 7 arrived 2 times without being marked"},
		{"twice, after a requeue", h().sent(7).consume(2).deliver(2, 7).settle(Requeued, 2, 7).again(2, 7).ack(2, 7), good},
		{"requeued and not marked", h().sent(7).consume(2).deliver(2, 7).settle(Requeued, 2, 7).deliver(2, 7).ack(2, 7), "arrived 2 times without being marked"},
		{"after its ack",
			h().sent(7).consume(2).consume(3).deliver(2, 7).ack(2, 7).on(Synced, 2).on(Broken, 2).again(3, 7).ack(3, 7).on(Synced, 3),
			"duplicated: queue q: message 7 was delivered after its ack was in the log"},
		{"after its ack, by a node that was cut off, and closes the channel",
			h().consume(2).consume(3).sent(7).deliver(2, 7).ack(2, 7).on(Synced, 2).again(3, 7).ack(3, 7).on(Broken, 3), good},
		{"after an ack that nobody answered",
			h().sent(7).consume(2).deliver(2, 7).ack(2, 7).on(Broken, 2).consume(3).again(3, 7).ack(3, 7).on(Synced, 3), good},
		{"after it was refused, in the same queue",
			h().sent(7).consume(2).consume(3).deliver(2, 7).settle(Rejected, 2, 7).on(Synced, 2).on(Broken, 2).again(3, 7).ack(3, 7).on(Synced, 3),
			"delivered after its ack was in the log"},

		{"marked for no reason", h().sent(7).consume(2).again(2, 7).ack(2, 7), "redelivered: queue q: message 7 is marked as redelivered"},
		{"marked after a requeue by somebody who went in order, later",
			h().sent(7).consume(2).consume(3).again(2, 7).ack(2, 7).on(Ended, 3), "marked as redelivered"},
		{"marked as a consumer went, which it was on the way to", h().consume(2).sent(7).on(Broken, 2).consume(3).again(3, 7).ack(3, 7), good},
		{"marked as a consumer was gone, which the cluster did not know", h().consume(2).on(Broken, 2).sent(7).consume(3).again(3, 7).ack(3, 7), good},
		{"marked as a consumer went long ago", h().consume(2).on(Broken, 2).wait(2*Noticed).sent(7).consume(3).again(3, 7).ack(3, 7), "marked as redelivered"},
		{"marked, and who went came later", h().sent(7).consume(2).again(2, 7).ack(2, 7).consume(3).on(Broken, 3), "marked as redelivered"},

		{"reordered", h().sent(7, 8).consume(2).deliver(2, 8).deliver(2, 7).ack(2, 7).ack(2, 8), "reordered: queue q: message 7 arrived after message 8"},
		{"the older one comes again", h().sent(7, 8).consume(2).deliver(2, 7).settle(Requeued, 2, 7).deliver(2, 8).again(2, 7).ack(2, 7).ack(2, 8), good},
		{"two publishers", h().publish(1, 7, "q").publish(5, 8, "q").consume(2).deliver(2, 8).deliver(2, 7).ack(2, 7).ack(2, 8), good},
		{"two consumers", h().sent(7, 8).consume(2).consume(3).deliver(3, 8).deliver(2, 7).ack(2, 7).ack(3, 8), good},

		{"given back, and late", late(h().settle(Requeued, 2, 7).on(Synced, 2)), "misplaced: queue q: message 7 was given back"},
		{"given back, and in its place", h().sent(7, 8, 9, 10, 11).holds(2, 2).deliver(2, 7).settle(Requeued, 2, 7).on(Synced, 2).
			deliver(2, 8).deliver(2, 9).again(2, 7).deliver(2, 10).deliver(2, 11).ack(2, 7).ack(2, 8).ack(2, 9).ack(2, 10).ack(2, 11), good},
		{"given back, and not in the log before it came", late(h().settle(Requeued, 2, 7)), good},
		{"given back, late, but somebody may have had it", late(h().consume(3).settle(Requeued, 2, 7).on(Synced, 2)).on(Broken, 3), good},
		{"given back, late, and who left had left long before", h().consume(3).on(Broken, 3).wait(2*Noticed).
			sent(7, 8, 9, 10).holds(2, 2).deliver(2, 7).settle(Requeued, 2, 7).on(Synced, 2).
			deliver(2, 8).deliver(2, 9).deliver(2, 10).again(2, 7).ack(2, 7).ack(2, 8).ack(2, 9).ack(2, 10), "misplaced: queue q: message 7"},

		{"phantom", h().consume(2).deliver(2, 7).ack(2, 7), "phantom: queue q: message 7 arrived, but was not published before"},
		{"before it was published", h().consume(2).deliver(2, 7).ack(2, 7).sent(7), "was not published before"},
		{"in a queue that it was not for", h().publish(1, 7, "other").consume(2).deliver(2, 7).ack(2, 7), "arrived, but was published to [other]"},
		{"confirm of nothing", h().told(Confirmed, 7), "phantom: message 7 was confirmed or returned, but never published"},

		{"returned though there is a route", h().mandatory(1, 7, "q").told(Returned, 7).told(Confirmed, 7), "returned: message 7 was returned, though it was published to [q]"},
		{"returned and there all the same", h().mandatory(1, 7, "q").told(Returned, 7).told(Confirmed, 7).consume(2).deliver(2, 7).ack(2, 7), "arrived, but was returned"},
		{"returned as the queue was gone", h().add(Event{Kind: Published, Channel: 1, Message: 7, To: []string{"q"}, Mandatory: true, Perishable: true}).told(Returned, 7).told(Confirmed, 7), good},
		{"returned", h().mandatory(1, 7).told(Returned, 7).told(Confirmed, 7), good},
		{"not returned", h().mandatory(1, 7).told(Confirmed, 7), "is mandatory, and was confirmed but not returned"},
		{"not returned, as its node caught up by a snapshot", h().mandatory(1, 7).wait(CaughtUp).told(Confirmed, 7), good},
		{"returned too late", h().mandatory(1, 7).told(Confirmed, 7).told(Returned, 7), "was returned after its confirm"},
		{"returned, not mandatory", h().publish(1, 7).told(Returned, 7).told(Confirmed, 7), "was not mandatory"},
		{"no route, not mandatory", h().publish(1, 7).told(Confirmed, 7), good},
		{"refused", h().publish(1, 7, "q").told(Nacked, 7), "nacked: message 7 was refused"},
	}
	for _, c := range cases {
		found := Check(c.b.events, map[string]Rules{"q": {Final: true}})
		text := ""
		for _, v := range found {
			text += v.String() + "\n"
		}
		switch {
		case c.want == good && len(found) > 0:
			t.Errorf("%s: complains: %s", c.name, text)
		case c.want != good && !strings.Contains(text, c.want):
			t.Errorf("%s: got %q, want: %s", c.name, text, c.want)
		}
	}
}

// TestCheckRules: a queue that messages leave in other ways need not give them out, and dead letters have no order.
func TestCheckRules(t *testing.T) {
	b := (&builder{}).sent(7, 8, 9).consume(2).deliver(2, 8).deliver(2, 7).ack(2, 7).ack(2, 8)
	if found := Check(b.events, map[string]Rules{"q": {DeadLetters: true}}); len(found) > 0 {
		t.Errorf("complains: %v", found)
	}
}

func TestCheckTokens(t *testing.T) {
	cases := []struct {
		name            string
		committed, left []Move
		want            string
	}{
		{"at rest", nil, []Move{{0, 0}, {1, 0}}, ""},
		{"moved", []Move{{0, 1}, {0, 2}, {1, 1}}, []Move{{0, 2}, {1, 1}}, ""},
		{"a commit without an answer", []Move{{0, 1}}, []Move{{0, 2}, {1, 0}}, ""},
		{"gone", nil, []Move{{0, 0}}, "token 1 is gone"},
		{"doubled", nil, []Move{{0, 0}, {0, 1}, {1, 0}}, "token 0 is there 2 times"},
		{"undone", []Move{{0, 1}, {0, 2}}, []Move{{0, 1}, {1, 0}}, "token 0 was moved 1 times only, though move 2 was committed"},
		{"moved twice from one place", []Move{{0, 1}, {0, 1}}, []Move{{0, 1}, {1, 0}}, "move 1 of token 0 was committed twice"},
		{"from nowhere", nil, []Move{{0, 0}, {1, 0}, {2, 0}}, "there is a token 2"},
	}
	for _, c := range cases {
		found := CheckTokens(2, c.committed, c.left)
		switch {
		case c.want == "" && len(found) > 0:
			t.Errorf("%s: complains: %v", c.name, found)
		case c.want != "" && (len(found) == 0 || !strings.Contains(found[0].String(), c.want)):
			t.Errorf("%s: got %v, want: %s", c.name, found, c.want)
		}
	}
}

func TestCheckRegister(t *testing.T) {
	put := func(value uint64, call, answer int) Access {
		return Access{Put: true, Value: value, Call: time.Duration(call), Answer: time.Duration(answer)}
	}
	take := func(value uint64, call, answer int) Access {
		return Access{Value: value, Call: time.Duration(call), Answer: time.Duration(answer)}
	}
	unknown := func(a Access) Access {
		a.Unknown = true
		return a
	}
	cases := []struct {
		name string
		all  []Access
		ok   bool
	}{
		{"put, take, empty", []Access{put(1, 0, 1), take(1, 2, 3), take(0, 4, 5)}, true},
		{"a put replaces", []Access{put(1, 0, 1), put(2, 2, 3), take(2, 4, 5), take(0, 6, 7)}, true},
		{"taken twice", []Access{put(1, 0, 1), take(1, 2, 3), take(1, 4, 5)}, false},
		{"lost", []Access{put(1, 0, 1), take(0, 2, 3)}, false},
		{"an old value", []Access{put(1, 0, 1), put(2, 2, 3), take(1, 4, 5)}, false},
		{"at the same time", []Access{put(1, 0, 5), put(2, 0, 5), take(1, 6, 7)}, true},
		{"nobody's value", []Access{put(1, 0, 1), take(9, 2, 3)}, false},
		{"a put without an answer, late", []Access{unknown(put(1, 0, 0)), take(0, 2, 3), take(1, 4, 5)}, true},
		{"a put without an answer, never", []Access{unknown(put(1, 0, 0)), take(0, 2, 3)}, true},
		{"a put without an answer, twice", []Access{unknown(put(1, 0, 0)), take(1, 2, 3), take(1, 4, 5)}, false},
		{"a take without an answer", []Access{put(1, 0, 1), unknown(take(0, 2, 0)), take(0, 4, 5)}, true},
		{"a take without an answer, too late", []Access{put(1, 0, 1), take(0, 2, 3), unknown(take(0, 4, 0))}, false},
	}
	for _, c := range cases {
		v := CheckRegister([]Register{{Name: "r", Accesses: c.all}}, time.Minute)
		if ok := len(v.Violations) == 0; ok != c.ok || v.Undecided > 0 {
			t.Errorf("%s: %v, want it to be found right: %v", c.name, v, c.ok)
		}
	}
}
