package webspace

import (
	"errors"
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

// MustAddr is netip.MustParseAddr, for brevity.
func MustAddr(s string) netip.Addr { return netip.MustParseAddr(s) }

func TestAllocate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := number(MustAddr("172.24.1.1"))
		pool := Pool{MustAddr("172.24.1.1"), address(first + rapid.Uint32Range(0, 700).Draw(t, "size"))}
		used := map[netip.Addr]bool{{}: true}
		free := 0
		for a := pool.First; a.Compare(pool.Last) <= 0; a = a.Next() {
			if pool.Contains(a) {
				free++
			}
		}
		for _, uid := range rapid.SliceOf(rapid.IntRange(0, MaxUID)).Draw(t, "uids") {
			a, err := pool.Allocate(uid, has(used))
			if free == 0 {
				if !errors.Is(err, ErrExhausted) {
					t.Fatalf("with none left: %v, %v", a, err)
				}
				continue
			}
			if err != nil || used[a] || !pool.Contains(a) {
				t.Fatalf("uid %d: %v, %v", uid, a, err)
			}
			if b, _ := pool.Allocate(uid, has(used)); b != a {
				t.Fatalf("uid %d: %v, then %v", uid, a, b)
			}
			used[a] = true
			free--
		}
	})
}

func TestAllocateAll(t *testing.T) {
	used := make(map[netip.Addr]bool)
	pool := Pool{MustAddr("172.24.1.1"), MustAddr("172.24.8.254")}
	for uid := range 8 * 254 {
		a, err := pool.Allocate(uid, has(used))
		if err != nil || used[a] {
			t.Fatalf("uid %d: %v, %v", uid, a, err)
		}
		used[a] = true
	}
	if _, err := pool.Allocate(1, has(used)); !errors.Is(err, ErrExhausted) {
		t.Error(err)
	}
}

func TestPool(t *testing.T) {
	for a, want := range map[string]bool{
		"172.24.1.1": true, "172.24.253.254": true, "172.24.0.254": false, "172.24.254.1": false, "172.24.9.0": false,
		"172.24.9.255": false, "fd00::1": false, "::ffff:172.24.1.1": false,
	} {
		if DefaultPool().Contains(MustAddr(a)) != want {
			t.Errorf("%s: %v", a, !want)
		}
	}
	for _, p := range []Pool{{}, {MustAddr("172.24.1.2"), MustAddr("172.24.1.1")}, {MustAddr("fd00::1"), MustAddr("fd00::2")}} {
		if _, err := p.Allocate(1, has(nil)); !errors.Is(err, ErrInvalid) {
			t.Errorf("%v: %v", p, err)
		}
	}
}

func TestMAC(t *testing.T) {
	mac := MAC(MustAddr("172.24.7.9"))
	if mac.String() != "02:4c:ac:18:07:09" || mac[0]&3 != 2 {
		t.Error(mac)
	}
}

func TestNames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		uid := rapid.IntRange(0, MaxUID).Draw(t, "uid")
		if got, ok := parseName("ws-", instanceName("ws-", uid)); !ok || got != uid {
			t.Fatal(uid, got, ok)
		}
		name := rapid.StringMatching(`ws-u[0-9+ -]{0,12}|[a-z-]{0,6}`).Draw(t, "name")
		if uid, ok := parseName("ws-", name); ok && instanceName("ws-", uid) != name {
			t.Fatal(name, uid)
		}
	})
}

func has(used map[netip.Addr]bool) func(netip.Addr) bool {
	return func(a netip.Addr) bool { return used[a] }
}
