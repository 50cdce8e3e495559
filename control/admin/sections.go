package admin

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lanyard-project/lanyard/control/cli"
	"github.com/lanyard-project/lanyard/control/node/nodeapi"
)

// section is one part of the status.
type section struct {
	name string
	show func(s cli.Streams, st nodeapi.Status, limit int)
}

var sections = []section{
	{"node", showNode},
	{"problems", showProblems},
	{"programs", showPrograms},
	{"maps", showMaps},
	{"peers", showPeers},
	{"ports", showPorts},
	{"endpoints", showEndpoints},
	{"webspaces", showWebspaces},
	{"forwards", showForwards},
	{"drops", showDrops},
}

func sectionNames() []string {
	names := make([]string, len(sections))
	for i, x := range sections {
		names[i] = x.name
	}
	return names
}

// renderStatus prints the sections asked for, or all of them.
func renderStatus(s cli.Streams, st nodeapi.Status, names []string, limit int) {
	first := true
	for _, x := range sections {
		if len(names) > 0 && !slices.Contains(names, x.name) {
			continue
		}
		if len(names) == 0 && x.name == "problems" && len(st.Problems) == 0 && len(st.Errors) == 0 {
			continue
		}
		if !first {
			fmt.Fprintln(s.Out)
		}
		first = false
		x.show(s, st, limit)
	}
}

func title(s cli.Streams, name string, n int) {
	head := s.Paint(cli.Bold, strings.ToUpper(name[:1])+name[1:])
	if n == 0 {
		fmt.Fprintln(s.Out, head+"  "+s.Paint(cli.Dim, "none"))
		return
	}
	fmt.Fprintln(s.Out, head+"  "+s.Paint(cli.Dim, cli.Thousands(int64(n))))
}

func more(section string) string { return "lanyard status " + section + " --all" }

func showNode(s cli.Streams, st nodeapi.Status, _ int) {
	n := st.Node
	state := s.Paint(cli.Green, "ready")
	if !st.Readiness.Ready {
		state = s.Paint(cli.Red, "not ready: "+notReady(st.Readiness))
	}
	fmt.Fprintf(s.Out, "%s  %s\n", s.Paint(cli.Bold, "Node "+n.Name), state)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(s.Out, "  %s %s\n", s.Paint(cli.Dim, fmt.Sprintf("%-9s", name)), cli.Printable(fmt.Sprintf(format, args...)))
	}
	line("daemon", "lanyardd %s, up %s", st.Version, cli.Span(st.Time.Sub(st.Started)))
	line("LAN", "%s in %s, gateway %s, MTU %d", n.IP, n.Prefix, n.Gateway, n.MTU)
	line("tunnels", "from %s on %s, VNI %d, UDP %d", n.VTEP, n.Underlay, n.VNI, n.Port)
	uplink := fmt.Sprintf("%s on %s", n.UplinkIP, n.Uplink)
	if n.XDP != "" && n.XDP != "off" {
		uplink += ", XDP " + n.XDP
	}
	line("NAT", "from %s; %s of %s, at most %s for one webspace", uplink,
		cli.Count(st.Flows.Entries, "flow", "flows"), cli.Thousands(int64(st.Flows.Max)), cli.Thousands(int64(st.Flows.Quota)))
	lxd := "connected"
	if !st.LXD.Connected {
		lxd = "not connected (last answer " + cli.Ago(st.Time, st.LXD.LastSeen) + "): " + st.LXD.Error
	}
	line("LXD", "%s, %s", st.LXD.Target, lxd)
	sync := cli.Ago(st.Time, st.Sync.Last)
	if !st.Sync.Last.IsZero() {
		sync += ", took " + cli.Span(st.Sync.Duration)
	}
	if st.Sync.Error != "" {
		sync += "; the newest failed: " + st.Sync.Error
	}
	line("last sync", "%s", sync)
	dhcp := "not running"
	if st.DHCP.Running {
		dhcp = cli.Count(st.DHCP.Reservations, "reservation", "reservations")
		var sent []string
		for _, kind := range sortedKeys(st.DHCP.Sent) {
			if st.DHCP.Sent[kind] == 0 {
				continue
			}
			sent = append(sent, fmt.Sprintf("%s %s", cli.Thousands(int64(st.DHCP.Sent[kind])), kind))
		}
		if len(sent) > 0 {
			dhcp += "; sent " + strings.Join(sent, ", ")
		}
	}
	line("DHCP", "%s", dhcp)
	line("DNS", "%s", names(st.DNS))
	for _, c := range st.Readiness.Checks {
		if !c.OK && !c.Required && c.Name != "lxd" { // LXD has its own line
			fmt.Fprintf(s.Out, "  %s %s\n", s.Paint(cli.Yellow, "warning  "), cli.Printable(c.Name+": "+c.Detail))
		}
	}
}

// names is the line about the name server.
func names(d nodeapi.DNS) string {
	if !d.Running {
		return "not running"
	}
	var total uint64
	for _, n := range d.Queries {
		total += n
	}
	text := cli.Count(d.Records, "name", "names") + fmt.Sprintf("; %s queries", cli.Thousands(int64(total)))
	up := 0
	for _, u := range d.Upstreams {
		if u.Up {
			up++
		}
	}
	switch {
	case len(d.Upstreams) == 0:
		return text + "; no upstreams: names outside cannot be resolved"
	case up < len(d.Upstreams):
		return text + fmt.Sprintf("; %d of %d upstreams answer", up, len(d.Upstreams))
	}
	return text + "; all upstreams answer"
}

func showProblems(s cli.Streams, st nodeapi.Status, limit int) {
	title(s, "problems", len(st.Problems)+len(st.Errors))
	shown := 0
	print := func(subject, err string) {
		if limit == 0 || shown < limit {
			fmt.Fprintf(s.Out, "  %s  %s\n", s.Paint(cli.Red, subject), cli.Printable(err))
		}
		shown++
	}
	for _, p := range st.Problems {
		print(p.Subject, p.Error)
	}
	for _, e := range st.Errors {
		print("this status", e)
	}
	if limit > 0 && shown > limit {
		fmt.Fprintln(s.Out, "  "+s.Paint(cli.Dim, fmt.Sprintf("and %d more: %s", shown-limit, more("problems"))))
	}
}

func showPrograms(s cli.Streams, st nodeapi.Status, limit int) {
	title(s, "programs", len(st.Programs))
	if len(st.Programs) == 0 {
		return
	}
	t := cli.Table{Indent: "  ", Head: []string{"PROGRAM", "HOOK", "INTERFACE", "TAG", "VERSION"}}
	for _, p := range st.Programs {
		iface := cli.Text(p.Interface)
		if p.Interface == "" {
			iface = cli.Styled(cli.Red, fmt.Sprintf("gone (%d)", p.Ifindex))
		}
		t.Row(cli.Text(p.Name), cli.Text(p.Hook), iface, cli.Text(p.Tag), cli.Text(p.Version))
	}
	t.PrintSome(s, limit, more("programs"))
}

func showMaps(s cli.Streams, st nodeapi.Status, limit int) {
	title(s, "maps", len(st.Maps))
	if len(st.Maps) == 0 {
		return
	}
	t := cli.Table{Indent: "  ", Head: []string{"MAP", "ENTRIES", "MAX", "FULL", "MEMORY"}}
	for _, m := range st.Maps {
		entries, full := cli.Cell{Text: "-", Right: true}, cli.Cell{Text: "-", Right: true}
		if m.Entries >= 0 {
			entries = cli.Integer(m.Entries)
			if m.Max > 0 {
				part := 100 * float64(m.Entries) / float64(m.Max)
				full = cli.Cell{Text: fmt.Sprintf("%.0f %%", part), Right: true}
				switch {
				case part >= 95:
					full.Style = cli.Red
				case part >= 80:
					full.Style = cli.Yellow
				}
			}
		}
		memory := cli.Cell{Text: "-", Right: true}
		if m.Bytes > 0 {
			memory.Text = cli.Size(int64(uint64(m.Bytes)))
		}
		t.Row(cli.Text(m.Name), entries, cli.Integer(m.Max), full, memory)
	}
	t.Print(s)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
