package webspace

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"pgregory.net/rapid"
)

// Every port of the range is given out exactly once, however many ask at once, and then none.
func TestAllocateAllPorts(t *testing.T) {
	const first, last = 49152, 65535
	var x index
	round, at := x.begin()
	x.load(nil, round, at, first, last)
	var mu sync.Mutex
	seen := make(map[Forward]int)
	var g errgroup.Group
	for n := range last - first + 1 {
		g.Go(func() error {
			f, ok := x.claimPort(n%256, Forward{Proto: TCP})
			if !ok {
				return fmt.Errorf("none is left for %d", n)
			}
			x.settlePort(f, true)
			mu.Lock()
			defer mu.Unlock()
			if other, dup := seen[f]; dup {
				return fmt.Errorf("%d and %d both have %s", other, n, f)
			}
			seen[f] = n
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if f, ok := x.claimPort(1, Forward{Proto: TCP}); ok {
		t.Errorf("%s was given out although none is free", f)
	}
	if _, ok := x.claimPort(1, Forward{Proto: UDP}); !ok {
		t.Error("UDP has none either")
	}
	x.settlePort(Forward{TCP, 50000}, false)
	if f, ok := x.claimPort(1, Forward{Proto: TCP}); !ok || f.Port != 50000 {
		t.Errorf("the one that was given back: %s, %v", f, ok)
	}
}

// A list that LXD made before something was written does not take it away again.
func TestIndexKeepsWhatAListCannotKnow(t *testing.T) {
	var x index
	round, at := x.begin()
	f, ok := Forward{TCP, 50000}, false
	x.load(nil, round, at, 49152, 65535)
	old, oldAt := x.begin()
	if _, ok = x.claimPort(1, f); !ok {
		t.Fatal("not free")
	}
	x.load(nil, old, oldAt, 49152, 65535) // while it is being written
	if _, ok = x.claimPort(2, f); ok {
		t.Error("given out twice while it is written")
	}
	during, duringAt := x.begin()
	x.settlePort(f, true)
	x.load(nil, during, duringAt, 49152, 65535) // begun before, arrives after
	if _, ok = x.claimPort(2, f); ok {
		t.Error("given out twice after it was written")
	}
	after, afterAt := x.begin()
	x.load(nil, after, afterAt, 49152, 65535) // somebody has removed it in LXD
	if _, ok = x.claimPort(2, f); !ok {
		t.Error("it is not free although LXD says so")
	}
}

// free ports are a set, whatever is done with them.
func TestFreePorts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f, want := newFree(10, 20), make(map[uint16]bool)
		for p := uint16(10); p <= 20; p++ {
			want[p] = true
		}
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			p := rapid.Uint16Range(8, 22).Draw(t, "port")
			if rapid.Bool().Draw(t, "take") {
				f.take(p)
				delete(want, p)
			} else {
				f.give(p)
				if p >= 10 && p <= 20 {
					want[p] = true
				}
			}
			if len(f.list) != len(want) {
				t.Fatalf("%v, want %v", f.list, want)
			}
			for _, p := range f.list {
				if !want[p] {
					t.Fatalf("%v, want %v", f.list, want)
				}
			}
		}
		if p, ok := f.random(); ok != (len(want) > 0) || ok && !want[p] {
			t.Fatalf("chose %d of %v", p, want)
		}
	})
}

func TestNormalDomain(t *testing.T) {
	for in, want := range map[string]string{
		"Example.COM.": "example.com", "bücher.example": "xn--bcher-kva.example", "xn--bcher-kva.example": "xn--bcher-kva.example", "a-b.c.d": "a-b.c.d",
	} {
		if got, err := NormalDomain(in); err != nil || got != want || canonical(in) != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"", ".", "com", "a..b", "192.0.2.1", "a b.c", "-a.b", "a.b/c", "a.1", "*.example.com", "a_b.example", "a\x00.b", string(make([]byte, 2000))} {
		if got, err := NormalDomain(in); err == nil {
			t.Errorf("%q: %q", in, got)
		}
	}
}

// A reader that is too slow gets the newest state only, and memory does not grow.
func TestSubscriptionMerges(t *testing.T) {
	s := &Service{}
	w := s.Watch(Everyone)
	defer w.Close()
	for n := range 1000 {
		s.view.show([]Instance{{UID: 1, Name: "ws-u1", Node: fmt.Sprint(n)}, {UID: 2, Name: "ws-u2"}}, time.Now())
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, want := range []string{"999", ""} {
		if c, err := w.Next(ctx); err != nil || c.Instance.Node != want {
			t.Errorf("%+v, %v", c, err)
		}
	}
	s.view.show(nil, time.Now())
	for range 2 {
		if c, err := w.Next(ctx); err != nil || !c.Deleted {
			t.Errorf("%+v, %v", c, err)
		}
	}
	if len(w.pending) != 0 || len(w.order) != 0 {
		t.Errorf("%d wait", len(w.pending))
	}
}

func TestPolicyRecord(t *testing.T) {
	const in = `{"version":1,"user":3,"config":{"startupDelay":5,"httpPort":80,"sniPassthrough":false,` +
		`"wake":{"policy":"verified","forwards":{"tcp/50000":{"policy":"allowlist","allow":["192.0.2.0/24"]}},"later":1},"idle":{"napAfter":300,"oomSkip":true,"new":"x"}}}`
	r, _, err := Decode(map[string]string{Key: in})
	if err != nil || r.Config.Wake.Policy != WakeVerified || r.Config.Idle.NapAfter != 5*time.Minute || !r.Config.Idle.OOMSkip ||
		r.Config.Wake.Rule(Forward{TCP, 50000}).Policy != WakeAllowlist || r.Config.Wake.Rule(Forward{UDP, 50000}).Policy != WakeVerified {
		t.Fatalf("%+v, %v", r, err)
	}
	out, err := Encode(r.Clone())
	if err != nil {
		t.Fatal(err)
	}
	again, _, err := Decode(map[string]string{Key: out})
	if err != nil || string(again.Config.Wake.unknown["later"]) != "1" || again.Config.Idle != r.Config.Idle {
		t.Errorf("%s, %v", out, err)
	}
	for _, bad := range []string{
		`"wake":{"policy":"sometimes"}`, `"wake":{"forwards":{"tcp/0":{}}}`, `"wake":{"forwards":{"tcp/050000":{}}}`, `"wake":{"allow":["192.0.2.1/24"]}`,
		`"idle":{"napAfter":-1}`, `"idle":{"sleepAfter":99999999999}`, `"idle":[]`, `"wake":7`,
	} {
		if _, _, err := Decode(map[string]string{Key: `{"user":3,"config":{` + bad + `}}`}); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

// A lock is given up with its caller's context, and costs nothing afterwards.
func TestKeyed(t *testing.T) {
	var k keyed
	unlock, err := k.lock(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := k.lock(gone, "a"); err == nil {
		t.Error("it was locked twice")
	}
	unlock()
	if len(k.m) != 0 {
		t.Error(k.m)
	}
}
