package session

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"warren/protocol"
	"warren/protocol/wire"
)

// row: 1.1 connection.start
func TestHandshakeAndCleanClose(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect()
		p.header()
		start := receive[*protocol.ConnectionStart](p, 0)
		if start.VersionMajor != 0 || start.VersionMinor != 9 || start.Mechanisms != "PLAIN AMQPLAIN" || start.Locales != "en_US" {
			t.Errorf("connection.start: %+v", start)
		}
		caps, _ := start.ServerProperties.Get("capabilities")
		for _, name := range []string{"publisher_confirms", "basic.nack", "authentication_failure_close", "direct_reply_to"} {
			if v, _ := caps.(wire.Table).Get(name); v != true {
				t.Errorf("capability %s is %v", name, v)
			}
		}
		tune := call[*protocol.ConnectionTune](p, 0, &protocol.ConnectionStartOk{
			ClientProperties: allCapabilities, Mechanism: "AMQPLAIN", Locale: "en_US",
			Response: string(wire.AppendTable(nil, wire.Table{{Name: "LOGIN", Value: "guest"}, {Name: "PASSWORD", Value: "guest"}})[4:]),
		})
		if tune.ChannelMax != 2047 || tune.FrameMax != 131072 || tune.Heartbeat != 60 {
			t.Errorf("connection.tune: %+v", tune)
		}
		p.send(0, &protocol.ConnectionTuneOk{ChannelMax: 10, FrameMax: 4096, Heartbeat: 0}, &protocol.ConnectionOpen{VirtualHost: "/"})
		receive[*protocol.ConnectionOpenOk](p, 0)
		i := p.session.Info()
		if i.User != "guest" || i.VHost != "/" || i.ChannelMax != 10 || i.FrameMax != 4096 || i.Timeout != 0 ||
			i.State != "running" || i.AuthMechanism != "AMQPLAIN" || i.UserProvidedName != "test" {
			t.Errorf("info: %+v", i)
		}
		p.bye()
		if s := p.session.Info().State; s != "closed" {
			t.Errorf("state is %q", s)
		}
	})
}

// row: 1.1 protocol header
func TestWrongProtocolHeader(t *testing.T) {
	for _, header := range []string{"GET / HT", "AMQP\x00\x01\x00\x00", "\x16\x03\x01\x02\x00\x01\x00\x01"} {
		inBubble(t, func(t *testing.T, k *cluster) {
			p := k.connect()
			if _, err := p.conn.Write([]byte(header)); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(p.conn)
			if string(got) != protocol.ProtocolHeader || err != nil {
				t.Errorf("answer to %q is %q, %v", header, got, err)
			}
			if err := p.hangUp(); err == nil {
				t.Error("Serve returned no error")
			}
		})
	}
}

// row: 1.1 handshake timeout
func TestHandshakeTimeout(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect()
		p.header()
		receive[*protocol.ConnectionStart](p, 0)
		began := time.Now()
		if err := <-p.served; err == nil || !strings.Contains(err.Error(), "handshake timeout") {
			t.Errorf("Serve: %v", err)
		}
		if d := time.Since(began); d != DefaultHandshakeTimeout {
			t.Errorf("it took %s", d)
		}
		p.cancel()
	})
}

// row: 1.1 authentication failure
func TestLoginRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect()
		p.header()
		receive[*protocol.ConnectionStart](p, 0)
		p.send(0, &protocol.ConnectionStartOk{ClientProperties: allCapabilities, Mechanism: "PLAIN", Response: "\x00guest\x00wrong"})
		m := receive[*protocol.ConnectionClose](p, 0)
		if m.ReplyCode != 403 || m.ReplyText != "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile." {
			t.Errorf("%+v", m)
		}
		p.ends(protocol.Errorf(403, 0, ""))
	})
	t.Run("without the capability", func(t *testing.T) {
		inBubble(t, func(t *testing.T, k *cluster) {
			p := k.connect()
			p.header()
			receive[*protocol.ConnectionStart](p, 0)
			began := time.Now()
			p.send(0, &protocol.ConnectionStartOk{Mechanism: "PLAIN", Response: "\x00guest\x00wrong"})
			if err := <-p.served; err == nil {
				t.Error("Serve returned no error")
			}
			if d := time.Since(began); d != refusalDelay {
				t.Errorf("the socket was closed after %s", d)
			}
			if f, ok := <-p.frames; ok {
				t.Errorf("got %+v", f)
			}
			p.cancel()
		})
	})
	t.Run("unknown mechanism", func(t *testing.T) {
		inBubble(t, func(t *testing.T, k *cluster) {
			p := k.connect()
			p.header()
			receive[*protocol.ConnectionStart](p, 0)
			p.send(0, &protocol.ConnectionStartOk{Mechanism: "GSSAPI"})
			if m := receive[*protocol.ConnectionClose](p, 0); m.ReplyCode != 503 {
				t.Errorf("%+v", m)
			}
			p.ends(protocol.Errorf(503, 0, ""))
		})
	})
}

// row: 1.1 tune
func TestNegotiation(t *testing.T) {
	tune := func(channelMax uint16, frameMax uint32) *protocol.ConnectionTuneOk {
		return &protocol.ConnectionTuneOk{ChannelMax: channelMax, FrameMax: frameMax}
	}
	for _, c := range []struct {
		tune *protocol.ConnectionTuneOk
		text string
	}{
		{tune(3000, 131072), "negotiated channel_max = 3000 is higher than the maximum allowed value (2047)"},
		{tune(0, 131072), "negotiated channel_max = 0 (no limit) is higher than the maximum allowed value (2047)"},
		{tune(2047, 131073), "negotiated frame_max = 131073 is higher than the maximum allowed value (131072)"},
		{tune(2047, 0), "negotiated frame_max = 0 is higher than the maximum allowed value (131072)"},
		{tune(2047, 4095), "negotiated frame_max = 4095 is lower than the minimum allowed value (4096)"},
	} {
		inBubble(t, func(t *testing.T, k *cluster) {
			p := k.connect()
			p.header()
			receive[*protocol.ConnectionStart](p, 0)
			call[*protocol.ConnectionTune](p, 0, &protocol.ConnectionStartOk{Mechanism: "PLAIN", Response: "\x00guest\x00guest"})
			p.send(0, c.tune)
			p.dies(530, "NOT_ALLOWED - "+c.text, protocol.IDConnectionTune)
		})
	}
}

func TestUnknownVHost(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect()
		p.header()
		receive[*protocol.ConnectionStart](p, 0)
		call[*protocol.ConnectionTune](p, 0, &protocol.ConnectionStartOk{Mechanism: "PLAIN", Response: "\x00guest\x00guest"})
		p.send(0, &protocol.ConnectionTuneOk{ChannelMax: 2047, FrameMax: 131072}, &protocol.ConnectionOpen{VirtualHost: "nope"})
		p.dies(530, "NOT_ALLOWED - vhost nope not found", protocol.IDConnectionOpen)
	})
}

// row: 1.1 heartbeat
func TestHeartbeats(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect()
		p.loginAs(allCapabilities, &protocol.ConnectionTuneOk{ChannelMax: 2047, FrameMax: 131072, Heartbeat: 10})
		began := time.Now()
		for range 4 { // they come while nothing else does
			f := <-p.frames
			if f.Type != protocol.FrameHeartbeat || f.Channel != 0 || len(f.Payload) != 0 {
				t.Fatalf("got %+v", f)
			}
			p.w.Heartbeat()
			p.flush()
		}
		if d := time.Since(began); d > 4*10*time.Second {
			t.Errorf("four heartbeats took %s", d)
		}
		began = time.Now()
		err := <-p.served // we are silent from now on
		if err == nil || !strings.Contains(err.Error(), "missed heartbeats from client, timeout: 10s") {
			t.Errorf("Serve: %v", err)
		}
		if d := time.Since(began); d != 20*time.Second {
			t.Errorf("a silent client was given %s", d)
		}
		p.cancel()
	})
}

// row: 1.1 heartbeat
func TestNoHeartbeatWhenDisabled(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect()
		p.loginAs(nil, &protocol.ConnectionTuneOk{ChannelMax: 2047, FrameMax: 131072})
		time.Sleep(24 * time.Hour) // of the bubble
		p.silent()
		p.bye()
	})
}

// row: 1.1 close by operator
func TestShutdownClosesWith320(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect().login().open(1)
		p.cancel()
		m := receive[*protocol.ConnectionClose](p, 0)
		if m.ReplyCode != 320 || m.ReplyText != "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'" {
			t.Errorf("%+v", m)
		}
		p.send(0, &protocol.ConnectionCloseOk{})
		if err := <-p.served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

func TestCloseIsNotAwaitedForEver(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect().login()
		p.session.Close(320, "enough")
		began := time.Now()
		if m := receive[*protocol.ConnectionClose](p, 0); m.ReplyText != "CONNECTION_FORCED - enough" {
			t.Errorf("%+v", m)
		}
		if err := <-p.served; err != nil || time.Since(began) != DefaultCloseTimeout {
			t.Errorf("Serve: %v after %s", err, time.Since(began))
		}
		p.cancel()
	})
}

func TestShutdownDuringHandshake(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect()
		p.header()
		receive[*protocol.ConnectionStart](p, 0)
		p.cancel()
		if err := <-p.served; err == nil {
			t.Error("Serve returned no error")
		}
	})
}

func TestStreamErrors(t *testing.T) {
	for _, c := range []struct {
		name, bytes, text string
		code              uint16
	}{
		{"frame end", "\x01\x00\x01\x00\x00\x00\x04\x00\x14\x00\x0a\x00", "FRAME_ERROR - type 1, all octets = <<0,20,0,10>>: {invalid_frame_end_marker,0}", 501},
		{"frame size", "\x01\x00\x01\x7f\xff\xff\xff", "FRAME_ERROR - type 1, all octets = <<>>: {frame_too_large,2147483647,131064}", 501},
		{"frame type", "\x09\x00\x01\x00\x00\x00\x00\xce", "FRAME_ERROR - type 9, all octets = <<>>: unknown_frame", 501},
		{"heartbeat on a channel", "\x08\x00\x01\x00\x00\x00\x00\xce", "UNEXPECTED_FRAME - type 8, all octets = <<>>", 505},
		{"body without method", "\x03\x00\x01\x00\x00\x00\x01x\xce", "UNEXPECTED_FRAME - expected method frame, got non method frame instead", 505},
		{"header on channel 0", "\x02\x00\x00\x00\x00\x00\x01\x01\xce", "UNEXPECTED_FRAME - type 2, all octets = <<1>>", 505},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, k *cluster) {
				p := k.connect().login().open(1)
				if _, err := p.conn.Write([]byte(c.bytes)); err != nil {
					t.Fatal(err)
				}
				p.dies(c.code, c.text, 0)
			})
		})
	}
}

// A client that goes on sending behind a broken frame can still read why it is closed.
func TestBrokenStreamIsReadOn(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect().login()
		if _, err := p.conn.Write([]byte("\x01\x00\x01\x00\x00\x00\x01x!" + strings.Repeat("junk", 1<<18))); err != nil {
			t.Fatal(err)
		}
		receive[*protocol.ConnectionClose](p, 0)
		began := time.Now()
		err := <-p.served
		var e *protocol.Error
		if !errors.As(err, &e) || e.Code != 501 || time.Since(began) > refusalDelay {
			t.Errorf("Serve: %v after %s", err, time.Since(began))
		}
		p.cancel()
	})
}

func TestConnectionMethodErrors(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect().login()
		p.send(0, &protocol.ConnectionOpen{VirtualHost: "/"})
		p.dies(504, "CHANNEL_ERROR - unexpected method in connection state running", protocol.IDConnectionOpen)
	})
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect().login()
		call[*protocol.ConnectionUpdateSecretOk](p, 0, &protocol.ConnectionUpdateSecret{NewSecret: "guest"})
		p.bye()
	})
}

func TestLostSocketLeavesNothingBehind(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect().login().open(1)
		p.send(1, &protocol.QueueDeclare{Exclusive: true})
		name := receive[*protocol.QueueDeclareOk](p, 1).Queue
		if !strings.HasPrefix(name, "amq.gen-") || len(name) != len("amq.gen-")+22 {
			t.Errorf("generated name %q", name)
		}
		if err := p.hangUp(); err == nil {
			t.Error("Serve returned no error")
		}
		synctest.Wait()
		if q := k.queue(name); q.Name != "" {
			t.Error("the exclusive queue is still there")
		}
	})
}

// row: 1.1 connection.blocked
func TestBlocked(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p, quietOne := k.connect().login().open(1), k.connect().login().open(1)
		p.declare(1, "q")
		p.session.Blocked("low on memory")
		quietOne.session.Blocked("low on memory")
		p.silent() // it has not published
		if s := p.session.Info().State; s != "blocking" {
			t.Errorf("state %q", s)
		}
		p.publish(1, "", "q", "m")
		p.flush()
		if m := receive[*protocol.ConnectionBlocked](p, 0); m.Reason != "low on memory" {
			t.Errorf("%+v", m)
		}
		if s := p.session.Info().State; s != "blocked" {
			t.Errorf("state %q", s)
		}
		synctest.Wait()
		if k.queue("q").Ready != 0 {
			t.Error("a blocked publish was let through")
		}
		p.session.Unblocked()
		receive[*protocol.ConnectionUnblocked](p, 0)
		synctest.Wait()
		if k.queue("q").Ready != 1 {
			t.Error("the publish did not go on")
		}
		quietOne.session.Unblocked()
		quietOne.silent()
		p.bye()
		quietOne.bye()
	})
}

// A blocked publisher that publishes no more can do all else.
func TestBlockedClientMayClose(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect().login().open(1)
		p.publish(1, "", "q", "m")
		p.flush()
		synctest.Wait()
		p.session.Blocked("no quorum")
		receive[*protocol.ConnectionBlocked](p, 0)
		p.declare(1, "q")
		p.bye()
	})
}

func TestNoRoom(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect().login().open(1)
		p.declare(1, "q")
		k.setFull(true)
		go func() { // as the session does not read, this waits
			for range 100 {
				p.publish(1, "", "q", "m")
				p.flush()
			}
		}()
		time.Sleep(150 * time.Second) // longer than the heartbeats allow a silent client
		synctest.Wait()
		if n := k.queue("q").Ready; n > roomFrames {
			t.Errorf("%d publishes went through", n)
		}
		if s := p.session.Info().State; s != "flow" {
			t.Errorf("state %q", s)
		}
		k.setFull(false)
		synctest.Wait()
		if n := k.queue("q").Ready; n != 100 {
			t.Errorf("%d messages arrived", n)
		}
		p.bye()
	})
}
