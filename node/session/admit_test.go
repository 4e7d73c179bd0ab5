package session

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"warren/fsm/command"
	"warren/protocol"
)

// do applies a command at once.
func (k *cluster) do(cmd command.Command) *command.Error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.sequence++
	out := k.apply(command.AppendToBatch(command.NewBatch(nil, k.epoch, k.sequence), cmd))
	return out.Results[0].Err
}

// admitting has the machine decide about connections.
func (k *cluster) admitting(cfg *Config) {
	cfg.Admit = func(_ context.Context, vhost, user string) (bool, error) {
		if err := k.do(&command.ConnectionOpen{Conn: cfg.ID, VHost: vhost, User: user}); err != nil {
			return false, err
		}
		return true, nil
	}
}

// wantCounted compares what the machine counts, when all is quiet.
func (k *cluster) wantCounted(want string) {
	k.t.Helper()
	synctest.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	got := ""
	for _, c := range k.machine.CountedConnections() {
		got += fmt.Sprintf("%s@%s%v", c.User, c.VHost, c.Channels)
		if c.Epoch != k.epoch {
			k.t.Errorf("counted in epoch %d and not %d", c.Epoch, k.epoch)
		}
	}
	if got != want {
		k.t.Errorf("counted are %q, want %q", got, want)
	}
}

// enters brings a connection to connection.open.
func (p *peer) enters() *peer {
	p.t.Helper()
	p.header()
	receive[*protocol.ConnectionStart](p, 0)
	call[*protocol.ConnectionTune](p, 0, &protocol.ConnectionStartOk{Mechanism: "PLAIN", Response: "\x00guest\x00guest"})
	p.send(0, &protocol.ConnectionTuneOk{ChannelMax: 2047, FrameMax: 131072}, &protocol.ConnectionOpen{VirtualHost: "/"})
	return p
}

func TestRefusedByLimit(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		if err := k.do(&command.VHostLimits{VHost: "/", Limits: command.Limits{Set: []command.Limit{{Name: "max-connections", Value: 1}}}}); err != nil {
			t.Fatal(err)
		}
		first := k.connect(k.admitting).login()
		k.wantCounted("guest@/[]")
		k.connect(k.admitting).enters().dies(530,
			"NOT_ALLOWED - access to vhost '/' refused for user 'guest': connection limit (1) is reached", protocol.IDConnectionOpen)
		k.wantCounted("guest@/[]")
		first.bye()
		k.wantCounted("")
		k.connect(k.admitting).login().bye()
	})
}

// A connection of which nobody can say whether it is counted is refused, and taken back.
func TestLimitUnknown(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		k.connect(func(cfg *Config) {
			cfg.Admit = func(context.Context, string, string) (bool, error) {
				if err := k.do(&command.ConnectionOpen{Conn: cfg.ID, VHost: "/", User: "guest"}); err != nil {
					t.Error(err)
				}
				return true, errors.New("no answer")
			}
		}).enters().dies(530, "NOT_ALLOWED - access to vhost '/' refused for user 'guest': "+
			"connection limit cannot be queried, timeout", protocol.IDConnectionOpen)
		k.wantCounted("")
	})
}

func TestCountedChannels(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		if err := k.do(&command.UserPut{Name: "guest"}); err != nil {
			t.Fatal(err)
		}
		if err := k.do(&command.UserLimits{User: "guest", Limits: command.Limits{Set: []command.Limit{{Name: "max-channels", Value: 2}}}}); err != nil {
			t.Fatal(err)
		}
		p := k.connect(k.admitting).login().open(1, 2)
		k.wantCounted("guest@/[1 2]")
		call[*protocol.ChannelCloseOk](p, 2, &protocol.ChannelClose{ReplyCode: 200})
		p.open(2)
		// A channel that fails gives its place back too.
		p.send(2, &protocol.QueueDeclare{Queue: "nope", Passive: true})
		p.fails(2, 404, "NOT_FOUND - no queue 'nope' in vhost '/'", protocol.IDQueueDeclare)
		p.open(7)
		k.wantCounted("guest@/[1 7]")
		p.send(3, &protocol.ChannelOpen{})
		p.dies(530, "NOT_ALLOWED - number of channels opened for user 'guest' has reached the maximum allowed user limit of 2", protocol.IDChannelOpen)
		k.wantCounted("")
	})
}

// A connection that was there before the limit makes itself known, and once more
// when its epoch was removed.
func TestCountedLater(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect().login().open(1, 2)
		if vhost, user := p.session.Place(); vhost != "/" || user != "guest" {
			t.Errorf("it is in %q as %q", vhost, user)
		}
		k.wantCounted("")
		p.session.Count()
		p.session.Count()
		k.wantCounted("guest@/[1 2]")
		call[*protocol.ChannelCloseOk](p, 2, &protocol.ChannelClose{ReplyCode: 200})
		p.open(3)
		k.wantCounted("guest@/[1 3]")
		k.loseEpoch()
		k.wantCounted("guest@/[1 3]")
		if err := p.hangUp(); err == nil {
			t.Error("no error for a client that hung up")
		}
		k.wantCounted("")
	})
}
