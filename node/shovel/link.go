package shovel

import (
	"context"
	"errors"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	// endGrace is how long a shovel that is told to stop waits for the confirms of what it has sent, and
	// then for each side to hear of its end. It takes no more messages meanwhile.
	endGrace = time.Second
	// closeLimit is how long the end of a shovel that has moved all may take, for each side.
	closeLimit = 10 * time.Second
)

// errEnded means that a side closed the connection, the channel or the consumer without a reason.
var errEnded = errors.New("the connection, the channel or the consumer has ended")

// A link is one life of the two connections of a shovel.
type link struct {
	*Worker
	src, dest *end
	trail     amqp.Table // of x-shovelled
	returns   chan amqp.Return
	pending   chan flight // published; one for each message that is not acknowledged at the source, at most
}

// A flight is a message that is on its way to the destination.
type flight struct {
	tag     uint64 // of its delivery
	confirm *amqp.DeferredConfirmation
}

// once connects and moves messages. It returns nil when all that were asked for are moved.
func (w *Worker) once(ctx context.Context) error {
	if w.known && w.remaining() == 0 {
		return nil
	}
	l := &link{Worker: w}
	var err error
	s := w.shovel
	if l.src, err = w.connect(ctx, sourceName, s.Source.Protocol, s.Source.URIs, &w.srcURI); err != nil {
		return err
	}
	defer l.src.cut()
	if l.dest, err = w.connect(ctx, destinationName, s.Destination.Protocol, s.Destination.URIs, &w.destURI); err != nil {
		return err
	}
	defer l.dest.cut()
	// Whatever a side keeps waiting, it ends.
	stop := context.AfterFunc(ctx, func() {
		time.Sleep(endGrace)
		l.src.socket.Close()
		l.dest.socket.Close()
	})
	defer stop()
	deliveries, err := l.begin()
	if err != nil {
		return l.blame(err)
	}
	if w.remaining() == 0 {
		return l.end(closeLimit)
	}
	l.trail = w.trailOf(l.src.uri, l.dest.uri)
	w.set(func(st *Status) {
		st.State, st.Source, st.Destination = Running, l.src.uri, l.dest.uri
	})
	w.log.Info("shovel runs", "src", l.src.uri, "dest", l.dest.uri, "remaining", w.remaining())
	if err := l.move(ctx, deliveries); err != nil {
		_ = l.src.close(endGrace) // if it is there, so that the last acknowledgements have come
		return l.blame(err)
	}
	if ctx.Err() != nil {
		_ = l.end(endGrace) // what is lost of it comes again
		return ctx.Err()
	}
	return l.end(closeLimit)
}

// blame returns an error, or the fault of a side that it comes of.
func (l *link) blame(err error) error {
	for _, e := range []*end{l.src, l.dest} {
		if fault := e.socket.blame(err); fault != err {
			return fmt.Errorf("%s: %w", e.name, fault)
		}
	}
	return err
}

// end closes both sides, the source first: its acknowledgements count.
func (l *link) end(limit time.Duration) error {
	return errors.Join(l.src.close(limit), l.dest.close(limit))
}

// mandatory reports whether the destination is to return what it cannot route, which it does before it confirms. Where nobody waits for
// confirms, nobody asks.
func (l *link) mandatory() bool {
	return l.shovel.Destination.Queue != "" && l.shovel.AckMode == OnConfirm
}

// ack acknowledges messages at the source, which may send as many more then. The destination does not return them any more.
func (l *link) ack(n int, last uint64, multiple bool) error {
	l.dest.socket.messages.Add(-int64(n))
	l.src.socket.messages.Add(int64(n))
	return l.src.ch.Ack(last, multiple)
}

// begin makes queues ready, the destination's first, and consumes the source. It returns no deliveries when there
// is nothing to move.
func (l *link) begin() (<-chan amqp.Delivery, error) {
	src, dest := &l.shovel.Source, &l.shovel.Destination
	if err := l.beginDestination(dest); err != nil {
		return nil, err
	}
	queue, ready := src.Queue, 0
	var err error
	if queue == "" {
		queue, err = l.ownQueue(src)
	} else {
		ready, err = l.src.ensureQueue(queue, src.Predeclared, src.QueueArgs)
	}
	if err != nil {
		return nil, err
	}
	if !l.known {
		l.known = true
		l.set(func(s *Status) { s.Remaining = int64(ready) })
	}
	prefetch := src.Prefetch
	if left := l.remaining(); left == 0 {
		return nil, nil
	} else if left > 0 {
		prefetch = int(min(int64(prefetch), left))
	}
	l.pending = make(chan flight, prefetch)
	if l.mandatory() {
		// It has room for every message that can be under way, so it is never waited for.
		l.returns = l.dest.ch.NotifyReturn(make(chan amqp.Return, prefetch))
	}
	l.src.socket.messages.Store(int64(prefetch))
	if err := l.src.ch.Qos(prefetch, 0, false); err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	deliveries, err := l.src.ch.Consume(queue, "", false, false, false, false, src.ConsumerArgs)
	if err != nil {
		return nil, fmt.Errorf("consume from source: %w", err)
	}
	return deliveries, nil
}

func (l *link) beginDestination(to *Destination) error {
	if to.Queue != "" {
		if _, err := l.dest.ensureQueue(to.Queue, to.Predeclared, to.QueueArgs); err != nil {
			return err
		}
	}
	blocked := l.dest.conn.NotifyBlocked(make(chan amqp.Blocking, 1))
	go func() { // until the connection ends
		for b := range blocked {
			l.set(func(s *Status) {
				switch {
				case b.Active && s.State == Running:
					s.State = Blocked
				case !b.Active && s.State == Blocked:
					s.State = Running
				}
			})
		}
	}()
	if l.shovel.AckMode != OnConfirm {
		return nil
	}
	if err := l.dest.ch.Confirm(false); err != nil {
		return fmt.Errorf("destination: %w", err)
	}
	return nil
}

// ownQueue declares the queue through which an exchange is consumed. It lives as long as the connection.
func (l *link) ownQueue(src *Source) (string, error) {
	q, err := l.src.ch.QueueDeclare("", false, false, true, false, nil)
	if err != nil {
		return "", fmt.Errorf("source queue: %w", err)
	}
	if err := l.src.ch.QueueBind(q.Name, src.Key, src.Exchange, false, nil); err != nil {
		return "", fmt.Errorf("bind to source exchange: %w", err)
	}
	return q.Name, nil
}

// move takes messages until there are no more to move or ctx ends, and returns when those that were sent are
// acknowledged at the source.
func (l *link) move(ctx context.Context, deliveries <-chan amqp.Delivery) error {
	taking, stop := context.WithCancel(ctx)
	defer stop()
	down := l.watch()
	settled := make(chan error, 1)
	go func() {
		defer stop()
		settled <- l.settle(down)
	}()
	err := l.forward(taking, deliveries, down)
	close(l.pending)
	if e := <-settled; e != nil {
		return e
	}
	return err
}

// watch returns a channel that gives why a side ended.
func (l *link) watch() <-chan error {
	down := make(chan error, 1)
	for _, e := range []*end{l.src, l.dest} {
		for _, closed := range []chan *amqp.Error{
			e.conn.NotifyClose(make(chan *amqp.Error, 1)), e.ch.NotifyClose(make(chan *amqp.Error, 1)),
		} {
			go func() { // until the connection ends
				var err error = errEnded
				if why := <-closed; why != nil {
					err = why
				}
				select {
				case down <- fmt.Errorf("%s: %w", e.name, err):
				default: // it is told already
				}
			}()
		}
	}
	return down
}

// forward publishes what comes. It returns nil when enough is taken, or ctx ends.
func (l *link) forward(ctx context.Context, deliveries <-chan amqp.Delivery, down <-chan error) error {
	left := l.remaining()
	for left != 0 {
		var d amqp.Delivery
		var ok bool
		select {
		case <-ctx.Done():
			return nil
		case d, ok = <-deliveries:
		}
		if ctx.Err() != nil {
			return nil // both were ready: it goes back
		}
		if !ok {
			return l.why(down, errEnded)
		}
		if err := l.publish(&d); err != nil {
			return l.why(down, err)
		}
		if left > 0 {
			left--
		}
	}
	return nil
}

// why returns what ended a side, if that comes soon, as it tells more than what followed from it.
func (l *link) why(down <-chan error, otherwise error) error {
	select {
	case err := <-down:
		return err
	case <-time.After(100 * time.Millisecond):
		return otherwise
	}
}

// publish sends a message to the destination and acknowledges it in the modes that wait for nothing.
func (l *link) publish(d *amqp.Delivery) error {
	exchange, key := d.Exchange, d.RoutingKey
	to := &l.shovel.Destination
	switch {
	case to.Queue != "":
		exchange, key = "", to.Queue
	default:
		exchange, key = first(exchange, to.Exchange), first(key, to.Key)
	}
	l.dest.socket.messages.Add(1) // it may come back
	l.dest.socket.published.Add(1)
	if l.shovel.AckMode == NoAck {
		if err := l.ack(1, d.DeliveryTag, false); err != nil {
			return err
		}
	}
	confirm, err := l.dest.ch.PublishWithDeferredConfirm(exchange, key, l.mandatory(), false, l.message(d))
	if err != nil {
		return err
	}
	switch l.shovel.AckMode {
	case OnConfirm:
		l.set(func(s *Status) { s.Pending++ })
		l.pending <- flight{d.DeliveryTag, confirm} // never waits: the source sends no more than were asked for
		return nil
	case OnPublish:
		if err := l.ack(1, d.DeliveryTag, false); err != nil {
			return err
		}
	}
	l.moved(1)
	return nil
}

// settle acknowledges what is confirmed, in order, until there is no more to come.
func (l *link) settle(down <-chan error) error {
	var next *flight // taken out of pending and not confirmed yet
	for {
		if next == nil {
			f, ok := <-l.pending
			if !ok {
				return nil
			}
			next = &f
		}
		select {
		case <-next.confirm.Done():
		case err := <-down:
			return err
		}
		n, last := 0, uint64(0)
		var refused error
		for next != nil && isDone(next.confirm) {
			if refused = l.confirmed(next, down); refused != nil {
				break
			}
			n, last, next = n+1, next.tag, nil
			select {
			case f, ok := <-l.pending:
				if ok {
					next = &f
				}
			default:
			}
		}
		if n > 0 {
			if err := l.ack(n, last, true); err != nil {
				return l.why(down, err)
			}
			l.set(func(s *Status) { s.Pending -= n })
			l.moved(n)
		}
		if refused != nil {
			return refused
		}
	}
}

func isDone(c *amqp.DeferredConfirmation) bool {
	select {
	case <-c.Done():
		return true
	default:
		return false
	}
}

// confirmed returns nil when the destination has taken a message. What it returned comes before its confirm.
func (l *link) confirmed(f *flight, down <-chan error) error {
	if !f.confirm.Acked() {
		return l.why(down, errors.New("the destination refused a message: the queue may be full"))
	}
	select {
	case r := <-l.returns:
		return fmt.Errorf("the destination could not route a message to queue %s: %d %s", r.RoutingKey, r.ReplyCode, r.ReplyText)
	default:
		return nil
	}
}
