package admin

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/spf13/cobra"

	"github.com/lanyard-project/lanyard/control/cli"
	"github.com/lanyard-project/lanyard/control/connectivity"
	"github.com/lanyard-project/lanyard/control/node/config"
)

func connectivityCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "connectivity",
		Short: "Try the paths through the network on the running nodes",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(connectivityTestCommand(o), connectivityCleanCommand(o))
	return cmd
}

func connectivityTestCommand(o *options) *cobra.Command {
	var (
		file    string
		outside []string
		keep    bool
	)
	cmd := &cobra.Command{
		Use:   "test",
		Short: "Create temporary webspaces, try every path between them, remove them",
		Long: "Create temporary webspaces, two on this node and one on each other, and try every path: DHCP, gateway, ARP, ping,\n" +
			"full-sized packets, TCP and UDP on one node and across nodes, broadcast, NAT, forwards with the client's address,\n" +
			"hairpin, and that forged frames are dropped and counted. Then remove the webspaces and their image. Members'\n" +
			"webspaces are not touched. Takes about half a minute. Run it as root on a node; LXD is asked to do the rest.",
		Example: "  lanyard connectivity test\n  lanyard connectivity test --outside 9.9.9.9 --outside 9.9.9.9:443 --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := wanted(file)
			if err != nil {
				return err
			}
			lxd, err := store(c.LXD)
			if err != nil {
				return err
			}
			daemon := o.client()
			defer daemon.Close()
			p := cli.Progress{Streams: o.streams}
			defer p.End()
			s := o.streams
			report, err := connectivity.Run(cmd.Context(), lxd, daemon, connectivity.Options{
				Outside: outside, Keep: keep, Denied: denied(c),
				External: connectivity.ForwardRange(c.Forwards.Ports),
				Progress: p.Show,
				Starting: func(what string) {
					if s.ErrTTY { // elsewhere each outcome is a line already
						p.Show(what)
					}
				},
				Each: func(x connectivity.Outcome) {
					if !o.json {
						p.End()
						showOutcome(s, x)
					}
				},
			})
			p.End()
			if err != nil {
				for _, l := range report.Leftovers {
					fmt.Fprintln(s.Err, cli.Printable("left behind: "+l))
				}
				return err
			}
			if o.json {
				err = o.print(report)
			} else {
				showConnectivity(s, report)
			}
			if err == nil && !report.Good() {
				return errNo
			}
			return err
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "configuration `file` of lanyardd (default: $LANYARD_CONFIG, or else none)")
	cmd.Flags().StringSliceVar(&outside, "outside", nil, "`host` outside to reach through NAT: an IPv4 address (ping), or address:port (TCP); repeatable")
	cmd.Flags().BoolVar(&keep, "keep", false, "leave the temporary webspaces in place, to look at them")
	return cmd
}

func connectivityCleanCommand(o *options) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "clean",
		Short: "Remove what an interrupted connectivity test has left",
		Long: "Remove the temporary webspaces and the image that an interrupted connectivity test has left, on all nodes.\n" +
			"A test that is going on at this moment fails by that.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := wanted(file)
			if err != nil {
				return err
			}
			lxd, err := store(c.LXD)
			if err != nil {
				return err
			}
			left := connectivity.Clean(cmd.Context(), lxd)
			if o.json {
				err = o.print(map[string][]string{"leftovers": slices.Concat([]string{}, left)})
			} else {
				for _, l := range left {
					fmt.Fprintln(o.streams.Out, cli.Printable("could not remove "+l))
				}
			}
			if err == nil && len(left) > 0 {
				return errNo
			}
			return err
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "configuration `file` of lanyardd (default: $LANYARD_CONFIG, or else none)")
	return cmd
}

// denied picks an address that the configuration denies to webspaces: the cloud's metadata service, if possible.
func denied(c config.Config) netip.Addr {
	for _, text := range []string{"169.254.169.254", "10.255.255.254", "192.168.255.254"} {
		a := netip.MustParseAddr(text)
		in := func(list []netip.Prefix) bool {
			return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
		}
		if (len(c.Egress.Deny) == 0 || in(c.Egress.Deny)) && !in(c.Egress.Allow) && !c.LAN.Prefix.Contains(a) {
			return a
		}
	}
	return netip.Addr{}
}

func showOutcome(s cli.Streams, x connectivity.Outcome) {
	if x.Consequence() {
		return
	}
	mark, st := "ok", cli.Green
	switch x.Status {
	case connectivity.Failed:
		mark, st = "FAIL", cli.Red
	case connectivity.Skipped:
		mark, st = "skip", cli.Yellow
	}
	way := x.From
	if x.To != "" {
		way += " > " + x.To
	}
	fmt.Fprintf(s.Out, "  %s  %-40s  %-26s  %6s  %s\n", s.Paint(st, fmt.Sprintf("%-4s", mark)), cli.Printable(x.Name), cli.Printable(way), cli.Span(x.Took), s.Paint(cli.Dim, x.Detail))
	if x.Do != "" {
		fmt.Fprintf(s.Out, "        %s %s\n", s.Paint(cli.Dim, "next:"), cli.Printable(x.Do))
	}
}

func showConnectivity(s cli.Streams, r connectivity.Report) {
	fmt.Fprintf(s.Out, "\n%d ok, %d failed, %d skipped, in %s\n", r.OK, r.Failed, r.Skipped, cli.Span(r.Took))
	for _, l := range r.Leftovers {
		fmt.Fprintf(s.Out, "%s %s\n", s.Paint(cli.Red, "left behind:"), cli.Printable(l))
	}
}
