package sleep

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lanyard-project/lanyard/control/wake"
	"github.com/lanyard-project/lanyard/dataplane"
	"github.com/lanyard-project/lanyard/webspace"
)

var policy = webspace.Idle{NapAfter: time.Minute, SleepAfter: time.Hour}

var visitor = dataplane.Flow{Local: netip.MustParseAddrPort("172.24.1.1:80"), Remote: netip.MustParseAddrPort("192.0.2.1:999"), Passive: true}

func TestNapsThenSleeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{}, policy, webspace.Idle{}, webspace.Idle{SleepAfter: 30 * time.Minute})
		w.run(t, 50*time.Second)
		w.want(t)
		w.used(1)
		w.run(t, 50*time.Second)
		w.want(t) // idle for 50 s
		w.run(t, 20*time.Second)
		w.want(t, "nap ws-u1 idle")
		w.run(t, 40*time.Minute)
		w.want(t, "nap ws-u1 idle", "sleep ws-u3 idle")
		w.run(t, 24*time.Hour)
		w.want(t, "nap ws-u1 idle", "sleep ws-u3 idle", "sleep ws-u1 idle") // ws-u2 never
	})
}

func TestConnectionHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{}, policy)
		w.used(1)
		w.set(func() { w.flowing[addr(1)] = []dataplane.Flow{visitor} })
		w.run(t, 2*time.Hour) // without a packet
		w.want(t)
		a := w.why(t, 1)
		if len(a.Reasons) != 1 || a.Reasons[0].Kind != ByFlow || a.Reasons[0].What != "tcp 192.0.2.1:999 -> port 80" {
			t.Errorf("%+v", a)
		}
		w.used(1) // its end
		w.set(func() { w.flowing = nil })
		w.run(t, 30*time.Second)
		w.want(t)
		w.run(t, 40*time.Second)
		w.want(t, "nap ws-u1 idle")
	})
}

// A peer that lost its power never closes anything.
func TestDeadConnectionDoesNotHoldForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{}, policy)
		w.used(1)
		w.set(func() { w.flowing[addr(1)] = []dataplane.Flow{visitor} })
		w.run(t, 2*time.Hour+3*time.Minute)
		w.want(t)
		w.run(t, 2*time.Minute)
		w.want(t, "sleep ws-u1 idle")
	})
}

func TestUnknownConnectionsHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{}, policy)
		w.k.sockets = nil // and the dataplane has not followed them from the beginning
		w.run(t, 3*time.Hour)
		w.want(t)
		if a := w.why(t, 1); len(a.Reasons) != 1 || a.Reasons[0].Kind != ByUnknown {
			t.Errorf("%+v", a)
		}
		w.set(func() { w.activity[addr(1)] = dataplane.Activity{FlowsKnown: true} })
		w.run(t, 10*time.Second)
		w.want(t, "sleep ws-u1 idle")
	})
}

// Idle time begins at the end of what held it awake, not before.
func TestExecHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{}, policy)
		w.set(func() { w.ops = []webspace.Operation{{Instance: "ws-u1", What: "Executing command"}} })
		w.run(t, 3*time.Hour)
		w.want(t)
		if a := w.why(t, 1); len(a.Reasons) != 1 || a.Reasons[0].What != "Executing command" {
			t.Errorf("%+v", a)
		}
		w.set(func() { w.ops = []webspace.Operation{{Instance: "ws-u2"}} })
		w.run(t, 45*time.Second)
		w.want(t)
		if a := w.why(t, 1); len(a.Reasons) != 1 || a.Reasons[0].Kind != ByUse {
			t.Errorf("%+v", a)
		}
		w.run(t, 30*time.Second)
		w.want(t, "nap ws-u1 idle")
	})
}

func TestSessionHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{}, policy, policy)
		a := w.k.holds.Hold(1, "files")
		b := w.k.holds.Hold(1, "console")
		w.set(func() { w.spaces[2].HeldUntil = time.Now().Add(150 * time.Minute) }) // by another node
		a()
		a()
		w.run(t, 2*time.Hour)
		w.want(t)
		b()
		w.run(t, 50*time.Second)
		w.want(t)
		w.run(t, 20*time.Second)
		w.want(t, "nap ws-u1 idle")
		w.run(t, 2*time.Hour)
		w.want(t, "nap ws-u1 idle", "sleep ws-u2 idle", "sleep ws-u1 idle")
	})
}

// An exec that begins in the moment of the freeze would hang.
func TestExecDuringTheFreeze(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{}, policy)
		w.freezing = func() { w.set(func() { w.ops = []webspace.Operation{{Instance: "ws-u1", What: "Executing command"}} }) }
		w.run(t, 70*time.Second)
		w.want(t, "nap ws-u1 idle", "wake ws-u1 api")
		if len(w.k.failed) != 0 {
			t.Error("it counts as a failure")
		}
	})
}

func TestFailuresAreTriedLessAndLess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{}, policy)
		w.refuse = errors.New("no")
		w.run(t, 5*time.Minute)
		w.want(t, "failed", "failed", "failed", "failed") // after 60, 90, 150, 270 s
		w.set(func() { w.refuse = wake.ErrBusy })
		w.run(t, 4*time.Minute+10*time.Second) // not counted: tried at the next look
		w.set(func() { w.refuse = nil })
		n := len(w.did)
		w.run(t, 11*time.Second)
		if len(w.did) != n+1 || w.did[n] != "nap ws-u1 idle" {
			t.Error(w.did[n:])
		}
	})
}

func TestNothingWithoutKnowledge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{Pressure: Thresholds{MinFree: 1000 << 20}}, policy)
		w.blind = errors.New("no maps")
		w.run(t, 3*time.Hour)
		w.want(t)
		w.set(func() { w.blind, w.deaf = nil, errors.New("no LXD") })
		w.run(t, 3*time.Hour)
		w.want(t)
		if s := w.k.Stats(); s.Err == nil || s.Looks == 0 || s.Watched != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestTooFewMemoryTakesTheIdlestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{Pressure: Thresholds{MinFree: 200 << 20}}, policy, webspace.Idle{},
			webspace.Idle{OOMSkip: true}, webspace.Idle{}, webspace.Idle{}, webspace.Idle{}, webspace.Idle{})
		w.spaces[4].OOMSkip = true                                                             // the seed's admins' word
		w.flowing[addr(5)] = []dataplane.Flow{visitor}                                         // in use
		w.set(func() { w.ops = []webspace.Operation{{Instance: "ws-u6", What: "Executing"}} }) // in use
		for uid := range w.spaces {
			w.frees[uid] = 60 << 20
		}
		time.Sleep(20 * time.Second)
		w.used(1)
		time.Sleep(5 * time.Second)
		w.used(5)
		w.run(t, 6*time.Second)
		w.want(t)
		w.set(func() { w.memory.Available = 100 << 20 })
		w.run(t, 30*time.Second)
		w.want(t, "sleep ws-u2 pressure", "sleep ws-u7 pressure") // then there is enough
		w.set(func() { w.memory.Available = 100 << 20 })
		w.run(t, 30*time.Second)
		w.want(t, "sleep ws-u2 pressure", "sleep ws-u7 pressure", "sleep ws-u1 pressure") // who is left may not
		if s := w.k.Stats(); s.Short == "" || !s.Stuck || s.Memory.Available == 0 {
			t.Errorf("%+v", s)
		}
		w.set(func() { w.memory.Available = 900 << 20 })
		w.run(t, time.Second)
		if s := w.k.Stats(); s.Short != "" || s.Stuck {
			t.Errorf("%+v", s)
		}
	})
}

// One that a packet has just woken must not be the next to go.
func TestPressureSparesTheYoung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{Pressure: Thresholds{MinFree: 200 << 20}}, webspace.Idle{})
		w.memory.Available = 1
		w.run(t, 9*time.Second)
		w.want(t)
		w.run(t, 3*time.Second)
		w.want(t, "sleep ws-u1 pressure")
	})
}

func TestThresholds(t *testing.T) {
	both := Thresholds{MinFree: 100, Stalled: 20}
	for name, c := range map[string]struct {
		t    Thresholds
		m    Memory
		want string
	}{
		"enough":                     {both, Memory{Total: 1000, Available: 500}, ""},
		"few":                        {both, Memory{Total: 1000, Available: 99}, "available"},
		"nothing configured":         {Thresholds{}, Memory{Total: 1000, PSI: true, Stalled: 100}, ""},
		"stalled":                    {both, Memory{Total: 1000, Available: 150, PSI: true, Stalled: 20}, "waited"},
		"stalled a little":           {both, Memory{Total: 1000, Available: 150, PSI: true, Stalled: 19}, ""},
		"stalled at a limit its own": {both, Memory{Total: 1000, Available: 500, PSI: true, Stalled: 90}, ""},
	} {
		why, short := c.t.short(c.m)
		if short != (c.want != "") || !strings.Contains(why, c.want) {
			t.Errorf("%s: %v %q", name, short, why)
		}
	}
}

func TestWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{}, policy, webspace.Idle{})
		if a := w.why(t, 2); len(a.Reasons) != 1 || a.Reasons[0].Kind != ByPolicy {
			t.Errorf("%+v", a)
		}
		a := w.why(t, 1)
		nap, asleep := a.Due()
		if len(a.Reasons) != 1 || a.Reasons[0].Kind != ByUse || time.Until(nap) != time.Minute || time.Until(asleep) != time.Hour {
			t.Errorf("%+v %v %v", a, nap, asleep)
		}
		w.set(func() { w.spaces[1].Status = webspace.Frozen })
		a = w.why(t, 1)
		if nap, asleep := a.Due(); !nap.IsZero() || time.Until(asleep) != time.Hour || len(a.Reasons) != 0 {
			t.Errorf("%+v", a)
		}
		w.set(func() { w.spaces[1].Status = webspace.Stopped })
		a = w.why(t, 1)
		if nap, asleep := a.Due(); !nap.IsZero() || !asleep.IsZero() || len(a.Reasons) != 0 {
			t.Errorf("%+v", a)
		}
		w.set(func() { w.deaf = errors.New("no LXD") })
		if a := w.why(t, 2); len(a.Reasons) != 3 || a.Reasons[2].Kind != ByUnknown {
			t.Errorf("%+v", a)
		}
		w.used(2)
		if list, err := w.k.All(t.Context()); err != nil || len(list) != 2 {
			t.Errorf("%+v %v", list, err)
		}
		w.set(func() { w.blind = errors.New("no maps") })
		if _, err := w.k.All(t.Context()); err == nil {
			t.Error("it knows everything")
		}
	})
}
