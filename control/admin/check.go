package admin

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/lanyard-project/lanyard/control/check"
	"github.com/lanyard-project/lanyard/control/cli"
)

func checkCommand(o *options) *cobra.Command {
	var (
		file   string
		strict bool
		facts  bool
	)
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Say whether this machine is fit to be a node, and what to do",
		Long: "Say whether this machine is fit to be a node: kernel, BTF, capabilities, offloads, br_netfilter, rp_filter,\n" +
			"port clashes, LXD, and what to do about each. Changes nothing; what has to be tried is tried in a network\n" +
			"namespace of its own. Run it as root, before the installation or at any time after.",
		Example: "  lanyard check\n  lanyard check --config /etc/lanyard/node.yaml --strict",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := wanted(file)
			if err != nil {
				return err
			}
			w := want(c)
			p := cli.Progress{Streams: o.streams}
			if o.streams.ErrTTY {
				p.Show("looking at this machine")
			}
			f := check.Gather(cmd.Context(), w, askLXD(c.LXD))
			p.End()
			report := check.NewReport(check.Inspect(f, w))
			switch {
			case o.json && facts:
				err = o.print(struct {
					check.Report
					Facts check.Facts `json:"facts"`
				}{report, f})
			case o.json:
				err = o.print(report)
			default:
				renderCheck(o.streams, report)
			}
			if err == nil && !report.Good(strict) {
				return errNo
			}
			return err
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "configuration `file` of lanyardd (default: $LANYARD_CONFIG, or else none)")
	cmd.Flags().BoolVar(&strict, "strict", false, "let warnings fail the check too")
	cmd.Flags().BoolVar(&facts, "facts", false, "with --json: include all that was found out about the machine")
	return cmd
}

func renderCheck(s cli.Streams, r check.Report) {
	group := ""
	for _, x := range r.Results {
		if x.Group != group {
			if group != "" {
				fmt.Fprintln(s.Out)
			}
			group = x.Group
			fmt.Fprintln(s.Out, s.Paint(cli.Bold, groupTitle(group)))
		}
		mark, st := "ok", cli.Green
		switch x.Status {
		case check.Warning:
			mark, st = "warn", cli.Yellow
		case check.Failure:
			mark, st = "FAIL", cli.Red
		case check.Unknown:
			mark, st = "?", cli.Yellow
		}
		fmt.Fprintf(s.Out, "  %s  %-18s  %s\n", s.Paint(st, fmt.Sprintf("%-4s", mark)), x.Name, cli.Printable(x.Found))
		if x.Cause != "" {
			fmt.Fprintf(s.Out, "        %s %s\n", s.Paint(cli.Dim, "why:"), cli.Printable(x.Cause))
		}
		if x.Do != "" {
			fmt.Fprintf(s.Out, "        %s  %s\n", s.Paint(cli.Dim, "do:"), cli.Printable(x.Do))
		}
	}
	fmt.Fprintf(s.Out, "\n%s ok, %s, %s", cli.Thousands(int64(r.OK)), cli.Count(r.Warnings, "warning", "warnings"), cli.Count(r.Failures, "failure", "failures"))
	if r.Unknown > 0 {
		fmt.Fprintf(s.Out, ", %d not found out", r.Unknown)
	}
	fmt.Fprintln(s.Out)
}

func groupTitle(group string) string {
	switch group {
	case "lxd":
		return "LXD"
	case "":
		return ""
	}
	return string(group[0]-'a'+'A') + group[1:]
}
