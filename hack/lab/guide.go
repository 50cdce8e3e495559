package lab

import (
	"context"
	"fmt"
	"strings"
)

// Names lists the machines of the lab.
func (l *Lab) Names() []string {
	var names []string
	for _, ns := range l.namespaces() {
		names = append(names, ns.Name)
	}
	return names
}

// Machine finds one by its name, or returns nil.
func (l *Lab) Machine(name string) *Namespace {
	for _, ns := range l.namespaces() {
		if ns.Name == name {
			return ns
		}
	}
	return nil
}

// flag repeats --id where it is needed.
func (l *Lab) flag() string {
	if l.ID == "lab" {
		return ""
	}
	return " --id " + l.ID
}

// Guide says what one can do with a lab that was left running.
func (l *Lab) Guide() string {
	var b strings.Builder
	last := l.Node(len(l.nodes))
	fmt.Fprintf(&b, "Lab %q is up: %d nodes (%s - %s), a server (%s), a client (%s).\n\n",
		l.ID, len(l.nodes), l.Node(1).Addr(), last.Addr(), ServerAddr, ClientAddr)
	sh := "bin/lab shell" + l.flag()
	fmt.Fprintf(&b, "  %s n1                          a shell on the first node\n", sh)
	fmt.Fprintf(&b, "  %s n1 lxc list                 webspaces of the cluster\n", sh)
	fmt.Fprintf(&b, "  %s n1 lanyard status           what the node's dataplane knows\n", sh)
	fmt.Fprintf(&b, "  %s client                      a shell outside\n", sh)
	fmt.Fprintf(&b, "  bin/lab status%s\n  bin/lab down%s\n", l.flag(), l.flag())
	return b.String()
}

// Describe lists the machines and their daemons.
func (l *Lab) Describe(ctx context.Context) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-8s %-8s %-15s %s\n", "MACHINE", "PID", "ADDRESS", "DAEMONS")
	for _, n := range l.nodes {
		var daemons []string
		for _, d := range []string{"lxd", "lanyardd"} {
			if n.running(ctx, d) {
				daemons = append(daemons, d)
			}
		}
		fmt.Fprintf(&b, "%-8s %-8d %-15s %s\n", n.Name, n.Pid, n.Addr(), strings.Join(daemons, " "))
	}
	fmt.Fprintf(&b, "%-8s %-8d %-15s\n", "router", l.Router.Pid, RouterUnderlay)
	fmt.Fprintf(&b, "%-8s %-8d %-15s\n", "server", l.Server.Pid, ServerAddr)
	fmt.Fprintf(&b, "%-8s %-8d %-15s\n", "client", l.Client.Pid, ClientAddr)
	return b.String()
}
