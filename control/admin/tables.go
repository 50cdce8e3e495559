package admin

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/lanyard-project/lanyard/control/cli"
	"github.com/lanyard-project/lanyard/control/node/nodeapi"
)

func showPeers(s cli.Streams, st nodeapi.Status, limit int) {
	title(s, "peers", len(st.Peers))
	if len(st.Peers) == 0 {
		return
	}
	t := cli.Table{Indent: "  ", Head: []string{"PEER", "VTEP", "STATE", "NEXT HOP", "ON", "MTU"}}
	for _, p := range st.Peers {
		state := cli.Styled(cli.Green, "ready")
		if !p.Ready {
			why := p.Detail
			if why == "" {
				why = "its next hop is not known"
			}
			state = cli.Styled(cli.Yellow, "slow path: "+why)
		}
		if p.Foreign {
			state.Text += ", foreign"
		}
		mtu := cli.Cell{Text: "-", Right: true}
		if p.MTU > 0 {
			mtu.Text = fmt.Sprint(p.MTU)
		}
		t.Row(cli.Text(dash(p.Name)), cli.Text(p.VTEP.String()), state, cli.Text(dash(p.NextHop)), cli.Text(dash(p.Interface)), mtu)
	}
	t.PrintSome(s, limit, more("peers"))
}

func showPorts(s cli.Streams, st nodeapi.Status, limit int) {
	title(s, "ports", len(st.Ports))
	if len(st.Ports) == 0 {
		return
	}
	t := cli.Table{Indent: "  ", Head: []string{"WEBSPACE", "ADDRESS", "MAC", "INTERFACE", "RECEIVED", "SENT", "SLOW PATH", "DROPPED"}}
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
		d := cli.Integer(dropped[p.Owner])
		if dropped[p.Owner] > 0 {
			d.Style = cli.Yellow
		}
		t.Row(cli.Text(owner), cli.Text(p.IP.String()), cli.Text(p.MAC), cli.Text(p.Name),
			cli.Number(cli.Size(int64(c.RxBytes))), cli.Number(cli.Size(int64(c.TxBytes))), cli.Integer(c.SlowPackets), d)
	}
	t.PrintSome(s, limit, more("ports"))
}

func showEndpoints(s cli.Streams, st nodeapi.Status, limit int) {
	title(s, "endpoints", len(st.Endpoints))
	if len(st.Endpoints) == 0 {
		return
	}
	peers := peerNames(st)
	t := cli.Table{Indent: "  ", Head: []string{"ADDRESS", "MAC", "WHO", "WHERE", "STATE"}}
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
		state := cli.Text(e.State)
		if e.State != "awake" {
			state.Style = cli.Dim
		}
		t.Row(cli.Text(e.IP.String()), cli.Text(e.MAC), cli.Text(who), cli.Text(where), state)
	}
	t.PrintSome(s, limit, more("endpoints"))
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

func showForwards(s cli.Streams, st nodeapi.Status, limit int) {
	title(s, "forwards", len(st.Forwards))
	if len(st.Forwards) == 0 {
		return
	}
	peers := peerNames(st)
	t := cli.Table{Indent: "  ", Head: []string{"EXTERNAL", "PROTO", "WEBSPACE", "TARGET", "ENTERS AT"}}
	for _, f := range st.Forwards {
		entry := "here"
		if f.Entry.IsValid() {
			entry = peers(f.Entry)
		}
		if f.Tracked {
			entry += ", tracked"
		}
		t.Row(cli.Text(f.External.String()), cli.Text(f.Proto), cli.Text(dash(f.Owner)), cli.Text(f.Target.String()), cli.Text(entry))
	}
	t.PrintSome(s, limit, more("forwards"))
}

func showDrops(s cli.Streams, st nodeapi.Status, limit int) {
	title(s, "drops", len(st.Drops))
	if len(st.Drops) == 0 {
		return
	}
	drops := slices.Clone(st.Drops)
	slices.SortStableFunc(drops, func(a, b nodeapi.Drops) int { return cmp.Compare(b.Packets, a.Packets) })
	t := cli.Table{Indent: "  ", Head: []string{"REASON", "WEBSPACE", "PACKETS", "BYTES", "MEANING"}}
	for _, d := range drops {
		t.Row(cli.Text(d.Reason), cli.Text(dash(d.Owner)), cli.Integer(d.Packets), cli.Number(cli.Size(int64(d.Bytes))), cli.Styled(cli.Dim, meaning(d.Reason)))
	}
	t.PrintSome(s, limit, more("drops"))
}

func renderSync(s cli.Streams, r nodeapi.SyncResult) {
	if len(r.Changes) == 0 {
		fmt.Fprintf(s.Out, "nothing to change, took %s\n", cli.Span(r.Duration))
	} else {
		fmt.Fprintf(s.Out, "took %s\n", cli.Span(r.Duration))
		t := cli.Table{Indent: "  ", Head: []string{"TABLE", "ADDED", "UPDATED", "REMOVED"}}
		for _, name := range sortedKeys(r.Changes) {
			c := r.Changes[name]
			t.Row(cli.Text(name), cli.Integer(c.Added), cli.Integer(c.Updated), cli.Integer(c.Removed))
		}
		t.Print(s)
	}
	for _, p := range r.Problems {
		fmt.Fprintf(s.Out, "  %s  %s\n", s.Paint(cli.Red, p.Subject), cli.Printable(p.Error))
	}
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
