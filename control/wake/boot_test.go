package wake

import (
	"errors"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/control/ledger"
	"github.com/lanyard-project/lanyard/dataplane"
	"github.com/lanyard-project/lanyard/webspace"
)

func TestTheFirstPacketBoots(t *testing.T) {
	for name, b := range map[string]box{
		"events":                         {},
		"it listens before its address":  {listen: 205 * time.Millisecond, address: 260 * time.Millisecond},
		"no events of sockets":           {silent: true},
		"its events are lost":            {silent: true, lost: true},
		"no events at all, a slow start": {silent: true, quiet: true, start: 900 * time.Millisecond, listen: 1300 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, Config{}, func(t *testing.T, w *world) {
				ws := w.add(1, b)
				w.look()
				began := time.Now()
				w.send(ws, dataplane.TCP, client(1), webPort, "hello")
				for w.state(ws).Life != dataplane.LifeAwake || w.state(ws).Doing != "" {
					time.Sleep(100 * time.Microsecond)
					if time.Since(began) > time.Minute {
						t.Fatal("it never woke")
					}
				}
				r := w.ledger()
				if len(r) != 1 || r[0].Kind != ledger.Wake || r[0].Outcome != ledger.Done || r[0].Cause.Via != ledger.Forward ||
					r[0].Cause.Peer != client(1) || r[0].Cause.Port != webPort || r[0].Held != 1 {
					t.Fatalf("ledger: %+v", r)
				}
				ready := max(ws.address, ws.listen)
				most := 3 * time.Millisecond
				if ws.lost {
					most += blindEvery
				}
				if late := r[0].Split.Delivered - ready; late < 0 || late > most {
					t.Errorf("delivered %v after it could answer", late)
				}
				if tries := len(w.got(&w.injected)); name == "events" && tries > 20 {
					t.Errorf("its SYN was sent %d times: all before the last were in vain", tries)
				}
				if w.starts(ws) != 1 {
					t.Errorf("%d starts", w.starts(ws))
				}
			})
		})
	}
}

// The kernel's notice that an address is up makes the held SYN go at once, and not with the next repetition.
func TestAnAddressThatComesUpIsTried(t *testing.T) {
	c := Config{Times: Times{RepeatFirst: time.Second, RepeatMost: time.Second}}
	run(t, c, func(t *testing.T, w *world) {
		ws := w.add(1, box{listen: 205 * time.Millisecond, address: 260 * time.Millisecond, quiet: true, routes: true})
		w.look()
		w.e.Reachable(ws.target.Addr) // whoever says so: it wakes nobody
		if d := w.state(ws).Doing; d != "" {
			t.Fatalf("it is being %s", d)
		}
		w.send(ws, dataplane.TCP, client(1), webPort, "")
		time.Sleep(10 * time.Second)
		r := w.ledger()
		if len(r) != 1 || r[0].Split.Delivered < ws.address || r[0].Split.Delivered > ws.address+time.Millisecond {
			t.Errorf("ledger: %+v", r)
		}
	})
}

func TestManyClientsOneStart(t *testing.T) {
	run(t, Config{}, func(t *testing.T, w *world) {
		ws := w.add(1, box{})
		w.look()
		for n := range 200 {
			w.send(ws, dataplane.TCP, client(n), webPort, "")
			w.send(ws, dataplane.TCP, client(n), webPort, "") // its repetition
		}
		time.Sleep(time.Second)
		seen := make(map[uint16]bool)
		for _, f := range w.got(&w.injected) {
			seen[f.PeerPort] = true
		}
		if len(seen) != 200 || w.starts(ws) != 1 || len(w.got(&w.refused)) != 0 {
			t.Errorf("%d clients reached it, %d starts, %d refused", len(seen), w.starts(ws), len(w.got(&w.refused)))
		}
		if r := w.ledger(); len(r) != 1 || r[0].Held != 400 || r[0].Dropped != 0 {
			t.Errorf("ledger: %+v", r)
		}
		if w.e.held() != (totals{}) {
			t.Errorf("still counted as held: %+v", w.e.held())
		}
	})
}

func TestDatagramsGoOnce(t *testing.T) {
	for name, b := range map[string]box{
		"events": {}, "it binds before its address": {bind: 202 * time.Millisecond}, "no events": {silent: true, quiet: true},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, Config{}, func(t *testing.T, w *world) {
				ws := w.add(1, b)
				w.look()
				for n := range 100 {
					w.send(ws, dataplane.UDP, client(1), gamePort, itoa(n))
				}
				time.Sleep(100 * time.Millisecond)
				if got := w.got(&w.injected); len(got) != 0 {
					t.Fatalf("%d datagrams before it could take them", len(got))
				}
				time.Sleep(2 * time.Second)
				got := w.got(&w.injected)
				for n, f := range got {
					if text := string(f.Data[ethernet+leastIPv4+8:]); text != itoa(n) {
						t.Fatalf("datagram %d is %q", n, text)
					}
				}
				if len(got) != 64 || w.e.Stats().Dropped != 36 {
					t.Errorf("%d datagrams were delivered, %d counted as dropped", len(got), w.e.Stats().Dropped)
				}
				if r := w.ledger(); len(r) != 1 || r[0].Outcome != ledger.Done || r[0].Dropped != 36 {
					t.Errorf("ledger: %+v", r)
				}
			})
		})
	}
}

// A port that nobody listens on gets its own refusal, when the time that the webspace asked for is over.
func TestAPortThatNeverOpens(t *testing.T) {
	run(t, Config{}, func(t *testing.T, w *world) {
		ws := w.add(1, box{})
		w.look()
		w.send(ws, dataplane.TCP, client(1), 8080, "")
		time.Sleep(5 * time.Second)
		if s := w.state(ws); s.Life != dataplane.LifeBooting || s.Held != 1 {
			t.Fatalf("before its time is over: %+v", s)
		}
		time.Sleep(time.Second)
		if s := w.state(ws); s.Life != dataplane.LifeAwake || s.Held != 0 {
			t.Fatalf("after it: %+v", s)
		}
		if r := w.ledger(); len(r) != 1 || r[0].Outcome != ledger.Timeout {
			t.Errorf("ledger: %+v", r)
		}
	})
}

func TestAFailingStart(t *testing.T) {
	for name, b := range map[string]box{
		"LXD refuses": {startErr: errors.New("no space left on device")},
		"it hangs":    {hang: true},
		"init ends":   {dies: true, listen: time.Hour, address: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, Config{}, func(t *testing.T, w *world) {
				ws := w.add(1, b)
				w.look()
				w.send(ws, dataplane.TCP, client(1), webPort, "")
				w.send(ws, dataplane.TCP, client(2), webPort, "")
				time.Sleep(61 * time.Second)
				if n := len(w.got(&w.refused)); n != 2 {
					t.Fatalf("%d of 2 clients were told", n)
				}
				s := w.state(ws)
				if s.Life != dataplane.LifeAsleep || s.Err == nil || s.RetryAt.IsZero() {
					t.Fatalf("%+v", s)
				}
				r := w.ledger()
				if len(r) != 1 || r[0].Outcome != ledger.Failed || r[0].Error == "" {
					t.Fatalf("ledger: %+v", r)
				}
				starts := w.starts(ws)
				// It may try again, ever less often.
				last := time.Duration(0)
				for range 3 {
					pause := time.Until(w.state(ws).RetryAt)
					if pause > 0 {
						w.send(ws, dataplane.TCP, client(3), webPort, "")
						if w.starts(ws) != starts {
							t.Fatal("it was started again within the pause")
						}
						time.Sleep(pause)
					}
					w.send(ws, dataplane.TCP, client(4), webPort, "")
					time.Sleep(61 * time.Second)
					if w.starts(ws) != starts+1 {
						t.Fatalf("%d starts, want %d", w.starts(ws), starts+1)
					}
					starts = w.starts(ws)
					last = w.state(ws).RetryAt.Sub(time.Now().Add(-61 * time.Second))
				}
				if last < 4*time.Second {
					t.Errorf("the pause after four failures is %v", last)
				}
				if w.e.Stats().Denied[deniedFailed] > 3 || w.e.held() != (totals{}) {
					t.Errorf("%+v %+v", w.e.Stats(), w.e.held())
				}
			})
		})
	}
}

func TestStartsAreLimitedAndFair(t *testing.T) {
	run(t, Config{Starts: 3}, func(t *testing.T, w *world) {
		var all []*box
		for uid := 1; uid <= 50; uid++ {
			all = append(all, w.add(uid, box{}))
		}
		w.look()
		for n, ws := range all {
			w.send(ws, dataplane.TCP, client(n), webPort, "")
			w.send(ws, dataplane.TCP, client(n), webPort, "")
		}
		time.Sleep(time.Minute)
		for _, ws := range all[:20] { // the sender's budget ends there
			if s := w.state(ws); s.Life != dataplane.LifeAwake || w.starts(ws) != 1 {
				t.Errorf("%+v, %d starts", s, w.starts(ws))
			}
		}
		if w.starts(all[0]); w.most != 3 {
			t.Errorf("up to %d starts at the same time", w.most)
		}
		if d := w.e.Stats().Denied[deniedSource]; d != 60 {
			t.Errorf("%d packets of a sender that wakes too many", d)
		}
		for _, ws := range all[20:] {
			if w.starts(ws) != 0 {
				t.Error("a sender woke more than it may")
			}
		}
	})
}

// LXD starts what it is just stopping only when it has stopped; its clients wait.
func TestAPacketDuringShutdown(t *testing.T) {
	run(t, Config{}, func(t *testing.T, w *world) {
		ws := w.add(1, box{stopping: 3 * time.Second})
		w.look()
		w.send(ws, dataplane.TCP, client(1), webPort, "")
		time.Sleep(time.Second)
		done := make(chan error, 1)
		go func() { done <- w.e.Sleep(t.Context(), ws.target.Addr, ledger.Cause{Via: ledger.Idle}, 30*time.Second) }()
		time.Sleep(time.Second)
		w.send(ws, dataplane.TCP, client(2), webPort, "")
		time.Sleep(time.Second)
		if w.starts(ws) != 1 || len(w.got(&w.refused)) != 0 {
			t.Fatal("it was started or refused while it went down")
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if s := w.state(ws); s.Life != dataplane.LifeAwake || w.starts(ws) != 2 {
			t.Errorf("%+v after %d starts", s, w.starts(ws))
		}
		r := w.ledger()
		if len(r) != 3 || r[1].Kind != ledger.Sleep || r[1].Outcome != ledger.Done || r[2].Kind != ledger.Wake || r[2].Cause.Peer != client(2) {
			t.Errorf("ledger: %+v", r)
		}
	})
}

// The same when it is not us who stops it.
func TestAPacketDuringSomebodysShutdown(t *testing.T) {
	run(t, Config{}, func(t *testing.T, w *world) {
		ws := w.add(1, box{})
		w.look()
		w.mu.Lock()
		ws.target.Status = "Stopping"
		w.mu.Unlock()
		w.send(ws, dataplane.TCP, client(1), webPort, "")
		time.Sleep(3 * time.Second)
		w.mu.Lock()
		ws.target.Status = webspace.Stopped
		w.mu.Unlock()
		time.Sleep(3 * time.Second)
		if s := w.state(ws); s.Life != dataplane.LifeAwake || w.starts(ws) != 1 {
			t.Errorf("%+v after %d starts", s, w.starts(ws))
		}
	})
}
