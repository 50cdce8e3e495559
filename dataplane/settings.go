package dataplane

import (
	"fmt"
	"math/bits"

	"github.com/lanyard-project/lanyard/bpf"
)

// division says how the webspaces of a node share the table of flows.
type division struct{ share, quota, pool uint32 }

// divide gives one half of the table to the webspaces in equal shares, which are theirs alone, and the other half to
// a pool for whoever needs more. One webspace gets a quarter of the pool at most when there are four or more.
// share x webspaces + pool never exceeds the table, so nobody can use up another's share. The number of webspaces is
// rounded up to a power of two, so that the shares do not shrink with each one that starts.
func divide(flows, webspaces int) division {
	n := 1
	if webspaces > 1 {
		n = 1 << bits.Len(uint(webspaces-1))
	}
	share := max(flows/2/n, 1)
	pool := max(flows-share*n, 0)
	return division{share: uint32(share), pool: uint32(pool), quota: uint32(share + pool/min(n, 4))}
}

func (d *Dataplane) shares() division { return divide(d.cfg.Sizes.Flows, d.slots.staying()) }

// writeSettings puts the division into the one entry of the map, beside what is there.
func (d *Dataplane) writeSettings(v division) (Delta, error) {
	s := d.settings
	s.Uplink = wire(d.cfg.UplinkIP)
	s.FlowShare, s.FlowQuota, s.FlowPool = v.share, v.quota, v.pool
	return d.putSettings(s)
}

// bumpEpoch makes every flow look its next hop up again with its next packet.
func (d *Dataplane) bumpEpoch() error {
	s := d.settings
	s.NhEpoch++
	if s.NhEpoch == 0 {
		s.NhEpoch = 1 // zero is what a flow begins with
	}
	_, err := d.putSettings(s)
	return err
}

func (d *Dataplane) putSettings(s bpf.TcSettings) (Delta, error) {
	if s == d.settings {
		return Delta{}, nil
	}
	if err := d.maps["settings"].Put(uint32(0), s); err != nil {
		return Delta{}, fmt.Errorf("write map settings: %w", err)
	}
	d.settings = s
	return Delta{Updated: 1}, nil
}
