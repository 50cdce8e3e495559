package wake

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lanyard-project/lanyard/control/ledger"
	"github.com/lanyard-project/lanyard/dataplane"
	"github.com/lanyard-project/lanyard/webspace"
)

// Who comes while an admin stops a webspace waits, and wakes it when it has stopped.
func TestAWakeDuringAnAdminsStop(t *testing.T) {
	for name, c := range map[string]struct {
		came, stays bool // somebody comes meanwhile; it does not stop
		naps        bool
		life        dataplane.Life
		kinds       []ledger.Kind
	}{
		"nobody comes":              {life: dataplane.LifeAsleep, kinds: []ledger.Kind{ledger.Wake, ledger.Sleep}},
		"somebody comes":            {came: true, life: dataplane.LifeAwake, kinds: []ledger.Kind{ledger.Wake, ledger.Sleep, ledger.Wake}},
		"it does not stop":          {stays: true, life: dataplane.LifeAwake, kinds: []ledger.Kind{ledger.Wake, ledger.Sleep}},
		"it does not stop, and who": {stays: true, came: true, life: dataplane.LifeAwake, kinds: []ledger.Kind{ledger.Wake, ledger.Sleep}},
		"it naps":                   {naps: true, came: true, life: dataplane.LifeAwake, kinds: []ledger.Kind{ledger.Wake, ledger.Nap, ledger.Sleep, ledger.Wake}},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, Config{}, func(t *testing.T, w *world) {
				ws := w.add(1, box{stopping: 2 * time.Second})
				w.look()
				w.send(ws, dataplane.TCP, client(1), webPort, "")
				time.Sleep(time.Second)
				if c.naps {
					mustDo(t, w.e.Nap(context.Background(), ws.target.Addr, ledger.Cause{Via: ledger.Idle}))
				}
				if c.stays {
					ws.stopErr = errors.New("it does not want to")
				}
				before := len(w.got(&w.injected))
				w.shutDown(ws)
				w.shutDown(ws) // once more: nothing new
				time.Sleep(time.Second)
				if c.came {
					w.send(ws, dataplane.TCP, netip.AddrPortFrom(outside, 1234), webPort, "")
				}
				synctest.Wait()
				if n := len(w.got(&w.injected)); n != before || len(w.got(&w.refused)) != 0 {
					t.Errorf("it was asked %d times while it stops", n-before)
				}
				w.look() // a reading of LXD meanwhile changes nothing
				if s := w.state(ws); s.Life != dataplane.LifeBooting {
					t.Errorf("while it stops it is %+v", s)
				}
				time.Sleep(5 * time.Second)
				if s := w.state(ws); s.Life != c.life || s.Held != 0 || s.Doing != "" {
					t.Errorf("%+v", s)
				}
				if n := len(w.got(&w.injected)); c.came && n == before {
					t.Error("who came was not served")
				}
				var kinds []ledger.Kind
				for _, r := range w.ledger() {
					kinds = append(kinds, r.Kind)
					if r.Kind == ledger.Sleep && r.Cause.Via != ledger.Admin {
						t.Errorf("%+v", r)
					}
				}
				if len(kinds) != len(c.kinds) {
					t.Errorf("%v, want %v", kinds, c.kinds)
				}
			})
		})
	}
}

// Who comes while an admin restarts a webspace is served by its next life, which nobody but LXD begins.
func TestARestart(t *testing.T) {
	for name, c := range map[string]struct {
		box   box
		naps  bool
		early bool // somebody comes while it still stops
		late  bool // and when it boots
		life  dataplane.Life
		kinds []ledger.Kind
	}{
		"nobody comes":               {life: dataplane.LifeAwake, kinds: []ledger.Kind{ledger.Wake, ledger.Sleep, ledger.Wake}},
		"while it stops":             {early: true, life: dataplane.LifeAwake, kinds: []ledger.Kind{ledger.Wake, ledger.Sleep, ledger.Wake}},
		"while it boots":             {late: true, life: dataplane.LifeAwake, kinds: []ledger.Kind{ledger.Wake, ledger.Sleep, ledger.Wake}},
		"both, and none may wake":    {early: true, late: true, box: box{target: Target{Rule: webspace.WakeRule{Policy: webspace.WakeNever}}}, life: dataplane.LifeAwake, kinds: []ledger.Kind{ledger.Sleep, ledger.Wake}},
		"it was down for a moment":   {early: true, box: box{start: time.Millisecond, carrier: time.Millisecond}, life: dataplane.LifeAwake, kinds: []ledger.Kind{ledger.Wake, ledger.Sleep, ledger.Wake}},
		"it does not stop":           {early: true, box: box{stopErr: errors.New("it does not want to")}, life: dataplane.LifeAwake, kinds: []ledger.Kind{ledger.Wake, ledger.Sleep}},
		"it does not start":          {early: true, life: dataplane.LifeAsleep, kinds: []ledger.Kind{ledger.Wake, ledger.Sleep, ledger.Wake}},
		"it naps, and does not stop": {naps: true, box: box{stopErr: errors.New("it is frozen")}, life: dataplane.LifeNapping, kinds: []ledger.Kind{ledger.Wake, ledger.Nap, ledger.Sleep}},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, Config{}, func(t *testing.T, w *world) {
				c.box.stopping = 2 * time.Second
				ws := w.add(1, c.box)
				if c.box.target.Rule.Policy == webspace.WakeNever {
					_ = w.Start(t.Context(), ws.target.Name)
					time.Sleep(time.Second)
					w.look()
				} else {
					w.awake(ws)
				}
				if c.naps {
					mustDo(t, w.e.Nap(context.Background(), ws.target.Addr, ledger.Cause{Via: ledger.Idle}))
				}
				w.mu.Lock()
				if c.life == dataplane.LifeAsleep {
					ws.startErr = errors.New("its disk is full")
				}
				w.mu.Unlock()
				before, served := len(w.got(&w.injected)), 0
				w.restart(ws)
				time.Sleep(time.Second)
				if c.early {
					w.send(ws, dataplane.TCP, netip.AddrPortFrom(outside, 1234), webPort, "")
					served++
				}
				if n := len(w.got(&w.injected)); n != before {
					t.Errorf("it was asked %d times while it stops", n-before)
				}
				time.Sleep(time.Second + ws.start + 5*time.Millisecond)
				if c.late {
					w.send(ws, dataplane.TCP, netip.AddrPortFrom(outside, 1235), webPort, "")
					served++
				}
				time.Sleep(10 * time.Second)
				if s := w.state(ws); s.Life != c.life || s.Held != 0 || s.Doing != "" {
					t.Errorf("%+v", s)
				}
				seen := map[uint16]bool{}
				for _, f := range w.got(&w.injected)[before:] {
					seen[f.PeerPort] = true
				}
				refused := len(w.got(&w.refused))
				if c.life == dataplane.LifeAsleep {
					served, refused = served-1, refused-1
				}
				if len(seen) != served || refused != 0 {
					t.Errorf("%d of %d were served, %d refused", len(seen), served, refused)
				}
				starts := 2
				if ws.stopErr != nil {
					starts = 1
				}
				if n := w.starts(ws); n != starts {
					t.Errorf("it was started %d times, want %d", n, starts)
				}
				var kinds []ledger.Kind
				for _, r := range w.ledger() {
					kinds = append(kinds, r.Kind)
				}
				if !slices.Equal(kinds, c.kinds) {
					t.Errorf("%v, want %v", kinds, c.kinds)
				}
			})
		})
	}
}

// Who comes while an admin starts a webspace is held and served by that start, as if a packet had begun it.
func TestAnAdminsStart(t *testing.T) {
	for name, c := range map[string]struct {
		box     box
		comes   time.Duration // somebody comes after that time; 0: nobody
		life    dataplane.Life
		starts  int
		refused int
		ended   []ledger.Outcome
	}{
		"nobody comes":          {life: dataplane.LifeAwake, starts: 1, ended: []ledger.Outcome{ledger.Done}},
		"nobody, and no server": {box: box{listen: time.Hour}, life: dataplane.LifeAwake, starts: 1, ended: []ledger.Outcome{ledger.Done}},
		"while LXD is at it":    {comes: 100 * time.Millisecond, life: dataplane.LifeAwake, starts: 1, ended: []ledger.Outcome{ledger.Done}},
		"before it listens":     {box: box{listen: 2 * time.Second}, comes: time.Second, life: dataplane.LifeAwake, starts: 1, ended: []ledger.Outcome{ledger.Done}},
		"who may wake nothing":  {box: box{target: Target{Rule: webspace.WakeRule{Policy: webspace.WakeNever}}}, comes: 100 * time.Millisecond, life: dataplane.LifeAwake, starts: 1, ended: []ledger.Outcome{ledger.Done}},
		"it does not start":     {box: box{startErr: errors.New("its disk is full")}, comes: 20 * time.Millisecond, life: dataplane.LifeAsleep, starts: 1, refused: 1, ended: []ledger.Outcome{ledger.Failed}},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, Config{}, func(t *testing.T, w *world) {
				ws := w.add(1, c.box)
				w.look()
				w.turnOn(ws)
				if c.comes > 0 {
					time.Sleep(c.comes)
					if s := w.state(ws); s.Life != dataplane.LifeBooting {
						t.Errorf("while it starts it is %v", s.Life)
					}
					w.send(ws, dataplane.TCP, netip.AddrPortFrom(outside, 1234), webPort, "")
				}
				time.Sleep(10 * time.Second)
				if s := w.state(ws); s.Life != c.life || s.Held != 0 || s.Doing != "" {
					t.Errorf("%+v", s)
				}
				if n := w.starts(ws); n != c.starts {
					t.Errorf("it was started %d times, want %d", n, c.starts)
				}
				if n := len(w.got(&w.refused)); n != c.refused {
					t.Errorf("%d refused, want %d", n, c.refused)
				}
				if served := ws.answered[webPort]; c.comes > 0 && c.refused == 0 && !served {
					t.Error("who came was not served")
				}
				var ended []ledger.Outcome
				for _, r := range w.ledger() {
					ended = append(ended, r.Outcome)
					if r.Kind != ledger.Wake || r.Cause.Via != ledger.Admin {
						t.Errorf("%+v", r)
					}
				}
				if !slices.Equal(ended, c.ended) {
					t.Errorf("%v, want %v", ended, c.ended)
				}
			})
		})
	}
}

// An order that is heard of late, when the webspace has been stopped again, is none: who comes then wakes it as ever.
func TestALateOrder(t *testing.T) {
	run(t, Config{}, func(t *testing.T, w *world) {
		ws := w.add(1, box{})
		w.look()
		w.e.Ordered(webspace.Order{Name: ws.target.Name, What: webspace.Starting})
		w.send(ws, dataplane.TCP, netip.AddrPortFrom(outside, 1234), webPort, "")
		time.Sleep(10 * time.Second)
		if s := w.state(ws); s.Life != dataplane.LifeAwake || s.Held != 0 || w.starts(ws) != 1 || len(w.got(&w.refused)) != 0 {
			t.Errorf("%+v, %d starts, %d refused", s, w.starts(ws), len(w.got(&w.refused)))
		}
		w.e.Ordered(webspace.Order{Name: ws.target.Name, What: webspace.Starting}) // it is awake
		time.Sleep(time.Second)
		if s := w.state(ws); s.Life != dataplane.LifeAwake || s.Doing != "" {
			t.Errorf("%+v", s)
		}
	})
}

// A boot for a packet is in a hurry from its turn to its end, whatever that is; one that somebody else has ordered is not.
func TestOnlyOurBootsHurry(t *testing.T) {
	for name, c := range map[string]struct {
		box     box
		admin   bool
		hurries int32
	}{
		"a packet":          {hurries: 1},
		"it does not start": {box: box{startErr: errors.New("its disk is full")}, hurries: 1},
		"an admin":          {admin: true},
	} {
		t.Run(name, func(t *testing.T) {
			var begun, now atomic.Int32
			hurry := func(limit time.Duration) func() {
				begun.Add(1)
				now.Add(1)
				if limit <= 0 || limit > time.Minute {
					t.Errorf("for %v", limit)
				}
				return func() { now.Add(-1) }
			}
			run(t, Config{Hurry: hurry}, func(t *testing.T, w *world) {
				ws := w.add(1, c.box)
				w.look()
				if c.admin {
					w.turnOn(ws)
				} else {
					w.send(ws, dataplane.TCP, client(1), webPort, "")
				}
				time.Sleep(20 * time.Millisecond)
				synctest.Wait()
				if n := now.Load(); n != c.hurries {
					t.Errorf("while it boots %d hurry, want %d", n, c.hurries)
				}
				time.Sleep(500 * time.Millisecond) // not long enough for another try
				synctest.Wait()
				if begun.Load() != c.hurries || now.Load() != 0 {
					t.Errorf("%d have hurried, and %d still do", begun.Load(), now.Load())
				}
			})
		})
	}
}
