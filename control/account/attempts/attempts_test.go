package attempts

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/control/account"
)

func TestLimits(t *testing.T) {
	now := time.Unix(1e9, 0)
	c := New(Limits{Pair: Rate{3, time.Minute}, Peer: Rate{6, time.Minute}, Name: Rate{5, time.Minute}}, func() time.Time { return now })
	from := func(s string) context.Context { return account.WithPeer(t.Context(), netip.MustParseAddr(s)) }
	fail := func(peer, name string, times int) {
		t.Helper()
		for range times {
			if err := c.Take(from(peer), name); err != nil {
				t.Fatal(err)
			}
		}
	}
	refused := func(what, peer, name string) {
		t.Helper()
		err := c.Take(from(peer), name)
		var e *account.Error
		if !errors.Is(err, account.ErrRateLimited) || !errors.As(err, &e) || e.RetryAfter <= 0 || e.RetryAfter > time.Minute {
			t.Errorf("%s: %+v", what, err)
		}
	}
	fail("192.0.2.1", "ada", 3)
	refused("one address, one account", "192.0.2.1", "ada")
	refused("the same address as IPv6", "::ffff:192.0.2.1", "ada")
	for range 20 { // who knows the password is not held up, from another address
		fail("192.0.2.2", "ada", 1)
		c.Forgive(from("192.0.2.2"), "ada")
	}
	fail("2001:db8::1", "ada", 2)
	refused("everybody, one account", "2001:db8:1::1", "ada")
	for _, name := range []string{"a", "b", "c"} {
		fail("192.0.2.1", name, 1)
	}
	refused("one address, all accounts", "192.0.2.1", "d")
	now = now.Add(time.Minute)
	fail("192.0.2.1", "d", 1)
	now = now.Add(time.Hour)
	fail("192.0.2.1", "ada", 3)

	for range 3 {
		fail("2001:db8:7::1", "x", 1)
	}
	refused("another address of the same /64", "2001:db8:7::2", "x")

	for range 5 { // without an address only the account counts
		if err := c.Take(t.Context(), "y"); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Take(t.Context(), "y"); !errors.Is(err, account.ErrRateLimited) {
		t.Error(err)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	now := time.Unix(1e9, 0)
	c := New(Limits{Pair: Rate{1, time.Hour}, Peer: Rate{1, time.Hour}, Name: Rate{1, time.Hour}}, func() time.Time { return now })
	for i := range maxCounters {
		peer := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		_ = c.Take(account.WithPeer(t.Context(), peer), strings.Repeat("x", i%60))
		if len(c.empty) > maxCounters {
			t.Fatalf("%d counters", len(c.empty))
		}
	}
	now = now.Add(2 * time.Hour)
	_ = c.Take(t.Context(), "z")
	_ = c.Take(account.WithPeer(t.Context(), netip.MustParseAddr("192.0.2.1")), "z")
	if len(c.empty) > maxCounters {
		t.Fatalf("%d counters", len(c.empty))
	}
}
