package admin

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/lanyard-project/lanyard/control/node/nodeapi"
)

func showPeers(s Streams, st nodeapi.Status, limit int) {
	title(s, "peers", len(st.Peers))
	if len(st.Peers) == 0 {
		return
	}
	t := table{head: []string{"PEER", "VTEP", "STATE", "NEXT HOP", "ON", "MTU"}}
	for _, p := range st.Peers {
		state := styled(green, "ready")
		if !p.Ready {
			why := p.Detail
			if why == "" {
				why = "its next hop is not known"
			}
			state = styled(yellow, "slow path: "+why)
		}
		if p.Foreign {
			state.text += ", foreign"
		}
		mtu := cell{text: "-", right: true}
		if p.MTU > 0 {
			mtu.text = fmt.Sprint(p.MTU)
		}
		t.row(text(dash(p.Name)), text(p.VTEP.String()), state, text(dash(p.NextHop)), text(dash(p.Interface)), mtu)
	}
	t.print(s, limit, more("peers"))
}

func showPorts(s Streams, st nodeapi.Status, limit int) {
	title(s, "ports", len(st.Ports))
	if len(st.Ports) == 0 {
		return
	}
	t := table{head: []string{"WEBSPACE", "ADDRESS", "MAC", "INTERFACE", "RECEIVED", "SENT", "SLOW PATH", "DROPPED"}}
	dropped := map[string]uint64{}
	for _, d := range st.Drops {
		dropped[d.Owner] += d.Packets
	}
	for _, p := range st.Ports {
		c := st.Counters[p.Owner]
		owner := p.Owner
		if p.Kind != "webspace" {
			owner += " (" + p.Kind + ")"
		}
		d := number(dropped[p.Owner])
		if dropped[p.Owner] > 0 {
			d.style = yellow
		}
		t.row(text(owner), text(p.IP.String()), text(p.MAC), text(p.Name),
			cell{text: size(c.RxBytes), right: true}, cell{text: size(c.TxBytes), right: true}, number(c.SlowPackets), d)
	}
	t.print(s, limit, more("ports"))
}

func showEndpoints(s Streams, st nodeapi.Status, limit int) {
	title(s, "endpoints", len(st.Endpoints))
	if len(st.Endpoints) == 0 {
		return
	}
	peers := peerNames(st)
	t := table{head: []string{"ADDRESS", "MAC", "WHO", "WHERE", "STATE"}}
	for _, e := range st.Endpoints {
		where := "here"
		switch {
		case e.VTEP.IsValid():
			where = peers(e.VTEP)
		case e.Port != "":
			where = "here, " + e.Port
		}
		who := dash(e.Owner)
		if e.Infra {
			who = "infrastructure"
			if e.Owner != "" {
				who = e.Owner + " (infrastructure)"
			}
		}
		state := text(e.State)
		if e.State != "awake" {
			state.style = dim
		}
		t.row(text(e.IP.String()), text(e.MAC), text(who), text(where), state)
	}
	t.print(s, limit, more("endpoints"))
}

// peerNames gives the name of a tunnel address: "n2 (192.0.2.2)".
func peerNames(st nodeapi.Status) func(netip.Addr) string {
	names := map[netip.Addr]string{}
	for _, p := range st.Peers {
		if p.Name != "" {
			names[p.VTEP] = p.Name + " (" + p.VTEP.String() + ")"
		}
	}
	return func(vtep netip.Addr) string {
		if name := names[vtep]; name != "" {
			return name
		}
		return vtep.String()
	}
}

func showForwards(s Streams, st nodeapi.Status, limit int) {
	title(s, "forwards", len(st.Forwards))
	if len(st.Forwards) == 0 {
		return
	}
	peers := peerNames(st)
	t := table{head: []string{"EXTERNAL", "PROTO", "WEBSPACE", "TARGET", "ENTERS AT"}}
	for _, f := range st.Forwards {
		entry := "here"
		if f.Entry.IsValid() {
			entry = peers(f.Entry)
		}
		if f.Tracked {
			entry += ", tracked"
		}
		t.row(text(f.External.String()), text(f.Proto), text(dash(f.Owner)), text(f.Target.String()), text(entry))
	}
	t.print(s, limit, more("forwards"))
}

func showDrops(s Streams, st nodeapi.Status, limit int) {
	title(s, "drops", len(st.Drops))
	if len(st.Drops) == 0 {
		return
	}
	drops := slices.Clone(st.Drops)
	slices.SortStableFunc(drops, func(a, b nodeapi.Drops) int { return cmp.Compare(b.Packets, a.Packets) })
	t := table{head: []string{"REASON", "WEBSPACE", "PACKETS", "BYTES", "MEANING"}}
	for _, d := range drops {
		t.row(text(d.Reason), text(dash(d.Owner)), number(d.Packets), cell{text: size(d.Bytes), right: true}, styled(dim, meaning(d.Reason)))
	}
	t.print(s, limit, more("drops"))
}

func renderSync(s Streams, r nodeapi.SyncResult) {
	if len(r.Changes) == 0 {
		fmt.Fprintf(s.Out, "nothing to change, took %s\n", span(r.Duration))
	} else {
		fmt.Fprintf(s.Out, "took %s\n", span(r.Duration))
		t := table{head: []string{"TABLE", "ADDED", "UPDATED", "REMOVED"}}
		for _, name := range sortedKeys(r.Changes) {
			c := r.Changes[name]
			t.row(text(name), number(c.Added), number(c.Updated), number(c.Removed))
		}
		t.print(s, 0, "")
	}
	for _, p := range r.Problems {
		fmt.Fprintf(s.Out, "  %s  %s\n", s.paint(red, p.Subject), printable(p.Error))
	}
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
