package wake

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/control/ledger"
	"github.com/lanyard-project/lanyard/dataplane"
	"github.com/lanyard-project/lanyard/webspace"
)

// awake boots a webspace by a packet.
func (w *world) awake(ws *box) {
	w.t.Helper()
	w.look()
	w.send(ws, dataplane.TCP, client(9999), webPort, "")
	time.Sleep(time.Second)
	if s := w.state(ws); s.Life != dataplane.LifeAwake {
		w.t.Fatalf("%+v", s)
	}
}

func (w *world) kick(ws *box) {
	w.events <- dataplane.Event{Kind: dataplane.EventKicked, IP: ws.target.Addr, Proto: dataplane.TCP, Port: webPort, Peer: outside, PeerPort: 41000}
}

func TestNapAndThaw(t *testing.T) {
	run(t, Config{}, func(t *testing.T, w *world) {
		ws := w.add(1, box{})
		w.awake(ws)
		if err := w.e.Nap(t.Context(), ws.target.Addr, ledger.Cause{Via: ledger.Idle}); err != nil {
			t.Fatal(err)
		}
		w.look()
		if s := w.state(ws); s.Life != dataplane.LifeNapping {
			t.Fatalf("%+v", s)
		}
		began := time.Now()
		w.kick(ws)
		w.kick(ws) // it is repeated
		if s := w.state(ws); s.Life != dataplane.LifeAwake || time.Since(began) != 0 {
			t.Errorf("%+v", s)
		}
		time.Sleep(time.Second)
		w.look()
		if s := w.state(ws); s.Life != dataplane.LifeAwake || ws.target.Status != webspace.Running {
			t.Errorf("%+v, LXD says %s", s, ws.target.Status)
		}
		r := w.ledger()
		if len(r) != 3 || r[1].Kind != ledger.Nap || r[2].Kind != ledger.Thaw || r[2].Cause.Peer != netip.AddrPortFrom(outside, 41000) {
			t.Errorf("ledger: %+v", r)
		}
	})
}

func TestKickedWhileItFallsAsleep(t *testing.T) {
	run(t, Config{}, func(t *testing.T, w *world) {
		ws := w.add(1, box{freezing: 20 * time.Millisecond})
		w.awake(ws)
		done := make(chan error, 1)
		go func() { done <- w.e.Nap(t.Context(), ws.target.Addr, ledger.Cause{Via: ledger.Idle}) }()
		time.Sleep(10 * time.Millisecond)
		w.kick(ws)
		if err := <-done; !errors.Is(err, ErrUndone) {
			t.Errorf("%v, want ErrUndone", err)
		}
		w.look()
		if s := w.state(ws); s.Life != dataplane.LifeAwake || ws.target.Status != webspace.Running {
			t.Errorf("%+v, LXD says %s", s, ws.target.Status)
		}
		if r := w.ledger(); len(r) != 2 || r[1].Outcome != ledger.Undone {
			t.Errorf("ledger: %+v", r)
		}
	})
}

func TestANapThatFails(t *testing.T) {
	run(t, Config{}, func(t *testing.T, w *world) {
		ws := w.add(1, box{freezeErr: errors.New("the freezer is full")})
		w.awake(ws)
		if err := w.e.Nap(t.Context(), ws.target.Addr, ledger.Cause{Via: ledger.Idle}); err == nil {
			t.Error("no error")
		}
		if s := w.state(ws); s.Life != dataplane.LifeAwake {
			t.Errorf("%+v", s)
		}
	})
}

func TestAStopThatFails(t *testing.T) {
	run(t, Config{}, func(t *testing.T, w *world) {
		ws := w.add(1, box{stopErr: errors.New("LXD does not answer")})
		w.awake(ws)
		if err := w.e.Sleep(t.Context(), ws.target.Addr, ledger.Cause{Via: ledger.Idle}, time.Second); err == nil {
			t.Error("no error")
		}
		if s := w.state(ws); s.Life != dataplane.LifeAwake {
			t.Errorf("%+v", s)
		}
		if err := w.e.Sleep(t.Context(), near, ledger.Cause{}, time.Second); !errors.Is(err, webspace.ErrNotFound) {
			t.Errorf("%v, want ErrNotFound", err)
		}
	})
}

func TestOneThingAtATime(t *testing.T) {
	run(t, Config{}, func(t *testing.T, w *world) {
		ws := w.add(1, box{})
		w.look()
		w.send(ws, dataplane.TCP, client(1), webPort, "")
		if s := w.state(ws); s.Doing != ledger.Wake {
			t.Fatalf("%+v", s)
		}
		if err := w.e.Sleep(t.Context(), ws.target.Addr, ledger.Cause{}, time.Second); !errors.Is(err, ErrBusy) {
			t.Errorf("sleep: %v, want ErrBusy", err)
		}
		if err := w.e.Nap(t.Context(), ws.target.Addr, ledger.Cause{}); !errors.Is(err, ErrBusy) {
			t.Errorf("nap: %v, want ErrBusy", err)
		}
	})
}

func TestEnsureStarted(t *testing.T) {
	run(t, Config{}, func(t *testing.T, w *world) {
		ws := w.add(1, box{silent: true, listen: 600 * time.Millisecond})
		w.look()
		began := time.Now()
		results := make(chan error, 20)
		for range 20 {
			go func() {
				addr, err := w.e.EnsureStarted(t.Context(), 1, ledger.Cause{Via: ledger.API})
				if err == nil && addr != ws.target.Addr {
					err = errors.New("another address")
				}
				results <- err
			}()
		}
		for range 20 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(began); took < ws.listen || took > ws.listen+100*time.Millisecond || w.starts(ws) != 1 {
			t.Errorf("%v, %d starts", took, w.starts(ws))
		}
		if _, err := w.e.EnsureStarted(t.Context(), 1, ledger.Cause{}); err != nil {
			t.Errorf("awake: %v", err)
		}
		if err := w.e.Nap(t.Context(), ws.target.Addr, ledger.Cause{Via: ledger.Idle}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.e.EnsureStarted(t.Context(), 1, ledger.Cause{Via: ledger.API}); err != nil {
			t.Errorf("napping: %v", err)
		}
		done := make(chan error, 1)
		go func() { done <- w.e.Sleep(t.Context(), ws.target.Addr, ledger.Cause{Via: ledger.Idle}, time.Second) }()
		time.Sleep(100 * time.Millisecond)
		if _, err := w.e.EnsureStarted(t.Context(), 1, ledger.Cause{Via: ledger.API}); err != nil || <-done != nil {
			t.Errorf("on its way down: %v", err)
		}
		if s := w.state(ws); s.Life != dataplane.LifeAwake || w.starts(ws) != 2 {
			t.Errorf("%+v after %d starts", s, w.starts(ws))
		}
		if _, err := w.e.EnsureStarted(t.Context(), 7, ledger.Cause{}); !errors.Is(err, webspace.ErrNotFound) {
			t.Errorf("a stranger: %v", err)
		}
	})
}

func TestEnsureStartedOfWhatCannotStart(t *testing.T) {
	run(t, Config{}, func(t *testing.T, w *world) {
		w.add(1, box{startErr: errors.New("no space left on device")})
		w.look()
		if _, err := w.e.EnsureStarted(t.Context(), 1, ledger.Cause{Via: ledger.API}); err == nil {
			t.Error("no error")
		}
	})
}
