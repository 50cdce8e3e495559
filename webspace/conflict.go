package webspace

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// Issue is something that is wrong with one webspace. It affects only what it names.
type Issue struct {
	Instance string
	Err      error // a *Problem
}

// Settle decides between webspaces that claim the same thing: an address, a MAC, an external port, a domain. The older
// one wins (by creation time, then by name), on every node alike. The other loses just that: the port or domain is taken
// out of its record, or, without an address or MAC of its own, its RecordErr is set.
//
// The result is a copy, oldest first; the given list is not changed. Pure: no clock, no state.
func Settle(list []Instance) ([]Instance, []Issue) {
	out := slices.Clone(list)
	slices.SortFunc(out, older)
	var issues []Issue
	names := make(map[string]bool, len(out))
	addresses := make(map[netip.Addr]string, len(out))
	macs := make(map[string]string, len(out))
	tcp, udp := make(map[uint16]string), make(map[uint16]string)
	domains := make(map[string]string)
	out = slices.DeleteFunc(out, func(i Instance) bool { // the same instance twice: a move seen half-way
		twice := names[i.Name]
		names[i.Name] = true
		return twice
	})
	for n := range out {
		i := &out[n]
		if i.RecordErr == nil {
			if winner, taken := addresses[i.Record.Address]; taken && i.Record.Address.IsValid() {
				i.RecordErr = duplicate(i.Name, "address "+i.Record.Address.String(), winner)
			} else if winner, taken := macs[i.MAC.String()]; taken && len(i.MAC) > 0 {
				i.RecordErr = duplicate(i.Name, "MAC "+i.MAC.String(), winner)
			}
		}
		if i.RecordErr != nil {
			issues = append(issues, Issue{i.Name, i.RecordErr})
			continue
		}
		addresses[i.Record.Address] = i.Name
		macs[i.MAC.String()] = i.Name
		i.Record = i.Record.Clone()
		issues = append(issues, settlePorts(i.Name, "TCP", i.Record.Ports, tcp)...)
		issues = append(issues, settlePorts(i.Name, "UDP", i.Record.UDPPorts, udp)...)
		i.Record.Domains = slices.DeleteFunc(i.Record.Domains, func(d string) bool {
			winner, dup := domains[canonical(d)]
			if dup && winner != i.Name {
				issues = append(issues, Issue{i.Name, duplicate(i.Name, "domain "+d, winner)})
			}
			domains[canonical(d)] = cmp.Or(winner, i.Name)
			return dup
		})
	}
	return out, issues
}

// settlePorts removes from ports what an older webspace has, and claims the rest.
func settlePorts(name, proto string, ports Ports, taken map[uint16]string) []Issue {
	var issues []Issue
	for _, external := range slices.Sorted(maps.Keys(ports)) {
		if winner, dup := taken[external]; dup {
			delete(ports, external)
			issues = append(issues, Issue{name, duplicate(name, fmt.Sprintf("external %s port %d", proto, external), winner)})
			continue
		}
		taken[external] = name
	}
	return issues
}

func duplicate(name, what, winner string) error {
	return &Problem{
		What: fmt.Sprintf("%s does not get its %s", name, what), Cause: fmt.Sprintf("the older %s has it", winner),
		Next: fmt.Sprintf("lxc config edit %s, and change %s", name, Key), Kind: ErrConflict,
	}
}

func older(a, b Instance) int {
	return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name))
}
