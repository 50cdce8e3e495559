package world

import (
	"context"
	"errors"

	"github.com/lanyard-project/lanyard/hack/bench/internal/load"
)

// Bare is the limit: two webspaces joined by one veth pair, with no node in between. With nic, b polls (NAPI).
func Bare(name string, nic bool, cpus CPUs) (*World, error) {
	w := &World{Name: name, NIC: nic}
	a, err := w.cell("a", cpus.generator())
	if err == nil {
		w.A = &Space{Cell: a, Name: "a", IP: lan(1, 1)}
		a, err = w.cell("b", cpus.generator())
	}
	if err == nil {
		w.B = &Space{Cell: a, Name: "b", IP: lan(1, 2)}
		err = w.cable(w.A.Cell, Inside, w.B.Cell, Inside, lanMTU)
	}
	if err == nil {
		err = errors.Join(address(w.A.Cell, Inside, w.A.IP, 16), address(w.B.Cell, Inside, w.B.IP, 16))
	}
	if err == nil && nic {
		err = w.B.Call(context.Background(), "features", load.FeatureSet{Device: Inside, Features: map[string]bool{"rx-gro": true}}, nil)
	}
	if err == nil && nic { // where b's answers to anybody go
		err = errors.Join(neighbour(w.B.Cell, Inside, w.A.IP, spaceMAC(1, 1)), defaultRoute(w.B.Cell, w.A.IP))
	}
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}
