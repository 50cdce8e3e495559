package webspace

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestSettle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var list []Instance
		for n := range rapid.IntRange(0, 8).Draw(t, "count") {
			uid := rapid.IntRange(0, 9).Draw(t, "uid")
			i := Instance{Name: fmt.Sprint("ws-u", uid), UID: uid, Created: time.Unix(int64(rapid.IntRange(0, 3).Draw(t, "created")), 0)}
			if last := rapid.IntRange(0, 4).Draw(t, "address"); last > 0 {
				i.Record.Address = netip.AddrFrom4([4]byte{172, 24, 1, byte(last)})
				i.MAC = MAC(netip.AddrFrom4([4]byte{172, 24, 1, byte(rapid.IntRange(1, 4).Draw(t, "mac"))}))
			}
			i.Record.Ports = rapid.MapOf(rapid.Uint16Range(1, 5), rapid.Just(uint16(n+1))).Draw(t, "tcp")
			i.Record.UDPPorts = rapid.MapOf(rapid.Uint16Range(1, 5), rapid.Just(uint16(n+1))).Draw(t, "udp")
			if rapid.Bool().Draw(t, "bad") {
				i.RecordErr = errors.New("bad")
			}
			list = append(list, i)
		}
		before := fmt.Sprint(list)
		out, issues := Settle(list)
		if fmt.Sprint(list) != before {
			t.Fatal("the argument was changed")
		}
		seen := map[any]string{}
		once := func(kind string, v any, name string) {
			if other, dup := seen[fmt.Sprint(kind, v)]; dup {
				t.Fatalf("%s and %s both have %s %v", other, name, kind, v)
			}
			seen[fmt.Sprint(kind, v)] = name
		}
		for _, i := range out {
			once("name", i.Name, i.Name)
			if i.RecordErr != nil {
				continue
			}
			if i.Record.Address.IsValid() {
				once("address", i.Record.Address, i.Name)
				once("mac", i.MAC, i.Name)
			}
			for p := range i.Record.Ports {
				once("tcp", p, i.Name)
			}
			for p := range i.Record.UDPPorts {
				once("udp", p, i.Name)
			}
		}
		// Nothing is lost without a word, and the order of the list does not matter.
		missing := 0
		for _, i := range out {
			if i.RecordErr != nil {
				missing++
			}
		}
		if missing > len(issues) {
			t.Fatalf("%d lost, %d issues", missing, len(issues))
		}
		perm := rapid.Permutation(list).Draw(t, "order")
		names := map[string]int{}
		for _, i := range list {
			names[i.Name]++
		}
		for _, n := range names {
			if n > 1 {
				return // which of two of the same name is taken does depend on the order
			}
		}
		if again, _ := Settle(perm); !reflect.DeepEqual(strip(again), strip(out)) {
			t.Fatalf("%v\nand in another order\n%v", out, again)
		}
	})
}

// strip makes results comparable: errors are compared by being there.
func strip(list []Instance) []string {
	var out []string
	for _, i := range list {
		out = append(out, fmt.Sprint(i.Name, i.Record.Ports, i.Record.UDPPorts, i.RecordErr != nil))
	}
	return out
}

func TestSettleOldestWins(t *testing.T) {
	mk := func(uid int, created int64) Instance {
		ip := MustAddr("172.24.1.1")
		return Instance{Name: fmt.Sprint("ws-u", uid), Created: time.Unix(created, 0), MAC: MAC(ip), Record: Record{User: uid, Address: ip, Ports: Ports{50000: 1}}}
	}
	out, issues := Settle([]Instance{mk(1, 30), mk(2, 10), mk(3, 20)})
	if out[0].Name != "ws-u2" || out[0].RecordErr != nil || !errors.Is(out[1].RecordErr, ErrConflict) || !errors.Is(out[2].RecordErr, ErrConflict) || len(issues) != 2 {
		t.Error(out, issues)
	}
}
