package wake

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lanyard-project/lanyard/control/ledger"
	"github.com/lanyard-project/lanyard/dataplane"
	"github.com/lanyard-project/lanyard/webspace"
)

func TestWhoMayWake(t *testing.T) {
	verified := webspace.WakeRule{Policy: webspace.WakeVerified}
	never := webspace.WakeRule{Policy: webspace.WakeNever}
	list := webspace.WakeRule{Policy: webspace.WakeAllowlist, Allow: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/28")}}
	other := netip.MustParseAddr("198.51.100.7")
	own := map[Port]webspace.WakeRule{{dataplane.TCP, webPort}: never}
	for name, c := range map[string]struct {
		rule     webspace.WakeRule
		forwards map[Port]webspace.WakeRule
		from     netip.Addr
		proto    dataplane.Proto
		wakes    bool
		refused  int
		via      ledger.Via
	}{
		"any, from outside":                {from: outside, proto: dataplane.TCP, wakes: true, via: ledger.Forward},
		"any, UDP from outside":            {from: outside, proto: dataplane.UDP, wakes: true, via: ledger.Forward},
		"any, a neighbour":                 {from: near, proto: dataplane.TCP, wakes: true, via: ledger.LAN},
		"any, the ingress":                 {from: ingress, proto: dataplane.TCP, wakes: true, via: ledger.HTTP},
		"any, a node":                      {from: ingress, proto: dataplane.UDP, wakes: true, via: ledger.Node},
		"never":                            {rule: never, from: outside, proto: dataplane.TCP, refused: 1},
		"never, a neighbour":               {rule: never, from: near, proto: dataplane.TCP, refused: 1},
		"verified, UDP":                    {rule: verified, from: outside, proto: dataplane.UDP},
		"verified, UDP of a neighbour":     {rule: verified, from: near, proto: dataplane.UDP, wakes: true, via: ledger.LAN},
		"on the list":                      {rule: list, from: outside, proto: dataplane.TCP, wakes: true, via: ledger.Forward},
		"not on the list":                  {rule: list, from: other, proto: dataplane.TCP, refused: 1},
		"a list and a neighbour":           {rule: list, from: near, proto: dataplane.TCP, wakes: true, via: ledger.LAN},
		"a forward's own rule":             {forwards: own, from: outside, proto: dataplane.TCP, refused: 1},
		"a forward's own rule, other port": {forwards: own, from: outside, proto: dataplane.UDP, wakes: true, via: ledger.Forward},
		"a forward's rule and a neighbour": {forwards: own, from: near, proto: dataplane.TCP, wakes: true, via: ledger.LAN},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, Config{}, func(t *testing.T, w *world) {
				ws := w.add(1, box{target: Target{Rule: c.rule, Forwards: c.forwards}})
				w.look()
				port := uint16(webPort)
				if c.proto == dataplane.UDP {
					port = gamePort
				}
				w.send(ws, c.proto, netip.AddrPortFrom(c.from, 40000), port, "")
				time.Sleep(time.Second)
				if woke := w.starts(ws) == 1; woke != c.wakes || len(w.got(&w.refused)) != c.refused {
					t.Errorf("woke: %v, refused: %d", woke, len(w.got(&w.refused)))
				}
				if r := w.ledger(); c.wakes && (len(r) != 1 || r[0].Cause.Via != c.via) {
					t.Errorf("ledger: %+v", r)
				}
			})
		})
	}
}

// A flood of forged SYNs boots nothing; who answers the challenge does, and is served.
func TestVerified(t *testing.T) {
	run(t, Config{}, func(t *testing.T, w *world) {
		ws := w.add(1, box{target: Target{Rule: webspace.WakeRule{Policy: webspace.WakeVerified}}})
		w.look()
		forged := func(n int) {
			f := packetTo(ws.target.Addr, dataplane.TCP, client(n), webPort, "")
			f.Unverified = true
			w.frames <- f
		}
		for n := range 1000 {
			forged(n)
		}
		time.Sleep(time.Second)
		if w.starts(ws) != 0 || w.state(ws).Held != 128 || len(w.got(&w.refused)) != 0 {
			t.Fatalf("%d starts, %+v", w.starts(ws), w.state(ws))
		}
		real := netip.MustParseAddrPort("203.0.113.77:5555")
		f := packetTo(ws.target.Addr, dataplane.TCP, real, webPort, "")
		f.Unverified = true
		w.frames <- f
		for n := range 100 {
			forged(2000 + n)
		}
		w.events <- dataplane.Event{Kind: dataplane.EventVerified, IP: ws.target.Addr, Proto: dataplane.TCP, Port: webPort, Peer: real.Addr(), PeerPort: real.Port()}
		w.events <- dataplane.Event{Kind: dataplane.EventVerified, IP: ws.target.Addr, Proto: dataplane.TCP, Port: webPort, Peer: outside, PeerPort: 1}
		time.Sleep(time.Second)
		if s := w.state(ws); s.Life != dataplane.LifeAwake || w.starts(ws) != 1 {
			t.Fatalf("%d starts, %+v", w.starts(ws), s)
		}
		r := w.ledger()
		if len(r) != 1 || r[0].Cause.Peer != real {
			t.Errorf("ledger: %+v", r)
		}
		if got := w.got(&w.injected); len(got) == 0 || got[0].Peer != real.Addr() {
			t.Errorf("the first that was sent on is %+v", got)
		}
	})
}

// Who answers a challenge whose SYN a flood has pushed out is there all the same: it boots, and the client's next SYN is
// known.
func TestVerifiedWithoutItsSYN(t *testing.T) {
	run(t, Config{}, func(t *testing.T, w *world) {
		ws := w.add(1, box{target: Target{Rule: webspace.WakeRule{Policy: webspace.WakeVerified}}})
		w.look()
		real := netip.MustParseAddrPort("203.0.113.77:5555")
		verified := dataplane.Event{Kind: dataplane.EventVerified, IP: ws.target.Addr, Proto: dataplane.TCP, Port: webPort, Peer: real.Addr(), PeerPort: real.Port()}
		w.events <- verified
		synctest.Wait()
		f := packetTo(ws.target.Addr, dataplane.TCP, real, webPort, "")
		f.Unverified = true
		w.frames <- f
		time.Sleep(2 * time.Second)
		w.events <- verified // late: it is awake
		time.Sleep(time.Second)
		if s := w.state(ws); s.Life != dataplane.LifeAwake || w.starts(ws) != 1 {
			t.Fatalf("%d starts, %+v", w.starts(ws), s)
		}
		if r := w.ledger(); len(r) != 1 || r[0].Cause.Peer != real {
			t.Errorf("ledger: %+v", r)
		}
		if got := w.got(&w.injected); len(got) == 0 || got[0].Peer != real.Addr() {
			t.Errorf("sent on: %+v", got)
		}
	})
}

func TestUnverifiedIsForgotten(t *testing.T) {
	run(t, Config{}, func(t *testing.T, w *world) {
		ws := w.add(1, box{target: Target{Rule: webspace.WakeRule{Policy: webspace.WakeVerified}}})
		w.look()
		f := packetTo(ws.target.Addr, dataplane.TCP, client(1), webPort, "")
		f.Unverified = true
		w.frames <- f
		time.Sleep(5 * time.Second)
		if s := w.state(ws); s.Held != 0 || w.e.held() != (totals{}) || w.e.Stats().Unproven != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestBudgets(t *testing.T) {
	run(t, Config{PerWebspace: 3, PerSource: 100}, func(t *testing.T, w *world) {
		ws := w.add(1, box{})
		w.look()
		cycle := func() {
			w.send(ws, dataplane.TCP, client(1), webPort, "")
			time.Sleep(10 * time.Second)
			if err := w.e.Sleep(t.Context(), ws.target.Addr, ledger.Cause{Via: ledger.Idle}, time.Second); err != nil {
				t.Fatal(err)
			}
		}
		for range 5 {
			cycle()
		}
		if w.starts(ws) != 3 {
			t.Errorf("%d starts, want 3", w.starts(ws))
		}
		if w.e.Stats().Denied[deniedWebspace] == 0 || len(w.got(&w.refused)) == 0 {
			t.Errorf("%+v", w.e.Stats())
		}
		time.Sleep(time.Hour)
		cycle()
		if w.starts(ws) != 4 {
			t.Errorf("%d starts after an hour, want 4", w.starts(ws))
		}
		// The nodes and the ingress have no budget: everybody comes through them.
		for range 4 {
			w.send(ws, dataplane.TCP, netip.AddrPortFrom(ingress, 999), webPort, "")
			time.Sleep(10 * time.Second)
			if err := w.e.Sleep(t.Context(), ws.target.Addr, ledger.Cause{Via: ledger.Idle}, time.Second); err != nil {
				t.Fatal(err)
			}
		}
		if w.starts(ws) != 8 {
			t.Errorf("%d starts, want 8", w.starts(ws))
		}
	})
}

func TestTheTableOfBudgetsIsBounded(t *testing.T) {
	b := newBudgets[int](2, time.Minute, 10)
	now := time.Unix(1000, 0)
	for k := range 10 {
		b.take(k, now)
	}
	got := 0
	for k := range 1000 { // strangers share one bucket
		if b.take(1000+k, now) {
			got++
		}
	}
	if got != 2 || len(b.m) != 10 {
		t.Errorf("%d of 1000 strangers, %d in the table", got, len(b.m))
	}
	if now = now.Add(time.Hour); !b.take(5000, now) || len(b.m) > 10 {
		t.Error("an old table keeps out who is new")
	}
}
