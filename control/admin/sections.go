package admin

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lanyard-project/lanyard/control/node/nodeapi"
)

// section is one part of the status.
type section struct {
	name string
	show func(s Streams, st nodeapi.Status, limit int)
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
func renderStatus(s Streams, st nodeapi.Status, names []string, limit int) {
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

func title(s Streams, name string, n int) {
	head := s.paint(bold, strings.ToUpper(name[:1])+name[1:])
	if n == 0 {
		fmt.Fprintln(s.Out, head+"  "+s.paint(dim, "none"))
		return
	}
	fmt.Fprintln(s.Out, head+"  "+s.paint(dim, thousands(int64(n))))
}

func more(section string) string { return "lanyard status " + section + " --all" }

func showNode(s Streams, st nodeapi.Status, _ int) {
	n := st.Node
	state := s.paint(green, "ready")
	if !st.Readiness.Ready {
		state = s.paint(red, "not ready: "+notReady(st.Readiness))
	}
	fmt.Fprintf(s.Out, "%s  %s\n", s.paint(bold, "Node "+n.Name), state)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(s.Out, "  %s %s\n", s.paint(dim, fmt.Sprintf("%-9s", name)), printable(fmt.Sprintf(format, args...)))
	}
	line("daemon", "lanyardd %s, up %s", st.Version, span(st.Time.Sub(st.Started)))
	line("LAN", "%s in %s, gateway %s, MTU %d", n.IP, n.Prefix, n.Gateway, n.MTU)
	line("tunnels", "from %s on %s, VNI %d, UDP %d", n.VTEP, n.Underlay, n.VNI, n.Port)
	uplink := fmt.Sprintf("%s on %s", n.UplinkIP, n.Uplink)
	if n.XDP != "" && n.XDP != "off" {
		uplink += ", XDP " + n.XDP
	}
	line("NAT", "from %s; %s of %s, at most %s for one webspace", uplink,
		count(st.Flows.Entries, "flow", "flows"), thousands(int64(st.Flows.Max)), thousands(int64(st.Flows.Quota)))
	lxd := "connected"
	if !st.LXD.Connected {
		lxd = "not connected (last answer " + ago(st.Time, st.LXD.LastSeen) + "): " + st.LXD.Error
	}
	line("LXD", "%s, %s", st.LXD.Target, lxd)
	sync := ago(st.Time, st.Sync.Last)
	if !st.Sync.Last.IsZero() {
		sync += ", took " + span(st.Sync.Duration)
	}
	if st.Sync.Error != "" {
		sync += "; the newest failed: " + st.Sync.Error
	}
	line("last sync", "%s", sync)
	dhcp := "not running"
	if st.DHCP.Running {
		dhcp = count(st.DHCP.Reservations, "reservation", "reservations")
		var sent []string
		for _, kind := range sortedKeys(st.DHCP.Sent) {
			if st.DHCP.Sent[kind] == 0 {
				continue
			}
			sent = append(sent, fmt.Sprintf("%s %s", thousands(int64(st.DHCP.Sent[kind])), kind))
		}
		if len(sent) > 0 {
			dhcp += "; sent " + strings.Join(sent, ", ")
		}
	}
	line("DHCP", "%s", dhcp)
	line("DNS", "%s", names(st.DNS))
	for _, c := range st.Readiness.Checks {
		if !c.OK && !c.Required && c.Name != "lxd" { // LXD has its own line
			fmt.Fprintf(s.Out, "  %s %s\n", s.paint(yellow, "warning  "), printable(c.Name+": "+c.Detail))
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
	text := count(d.Records, "name", "names") + fmt.Sprintf("; %s queries", thousands(int64(total)))
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

func showProblems(s Streams, st nodeapi.Status, limit int) {
	title(s, "problems", len(st.Problems)+len(st.Errors))
	shown := 0
	print := func(subject, err string) {
		if limit == 0 || shown < limit {
			fmt.Fprintf(s.Out, "  %s  %s\n", s.paint(red, subject), printable(err))
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
		fmt.Fprintln(s.Out, "  "+s.paint(dim, fmt.Sprintf("and %d more: %s", shown-limit, more("problems"))))
	}
}

func showPrograms(s Streams, st nodeapi.Status, limit int) {
	title(s, "programs", len(st.Programs))
	if len(st.Programs) == 0 {
		return
	}
	t := table{head: []string{"PROGRAM", "HOOK", "INTERFACE", "TAG", "VERSION"}}
	for _, p := range st.Programs {
		iface := text(p.Interface)
		if p.Interface == "" {
			iface = styled(red, fmt.Sprintf("gone (%d)", p.Ifindex))
		}
		t.row(text(p.Name), text(p.Hook), iface, text(p.Tag), text(p.Version))
	}
	t.print(s, limit, more("programs"))
}

func showMaps(s Streams, st nodeapi.Status, limit int) {
	title(s, "maps", len(st.Maps))
	if len(st.Maps) == 0 {
		return
	}
	t := table{head: []string{"MAP", "ENTRIES", "MAX", "FULL", "MEMORY"}}
	for _, m := range st.Maps {
		entries, full := cell{text: "-", right: true}, cell{text: "-", right: true}
		if m.Entries >= 0 {
			entries = number(m.Entries)
			if m.Max > 0 {
				part := 100 * float64(m.Entries) / float64(m.Max)
				full = cell{text: fmt.Sprintf("%.0f %%", part), right: true}
				switch {
				case part >= 95:
					full.style = red
				case part >= 80:
					full.style = yellow
				}
			}
		}
		memory := cell{text: "-", right: true}
		if m.Bytes > 0 {
			memory.text = size(uint64(m.Bytes))
		}
		t.row(text(m.Name), entries, number(m.Max), full, memory)
	}
	t.print(s, 0, "")
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
