package admin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyard-project/lanyard/control/cli"
	"github.com/lanyard-project/lanyard/control/node/nodeapi"
)

// defaultTunnelPort is assumed while the node has not said which port its tunnels use (RFC 7348).
const defaultTunnelPort = 4789

func traceCommand(o *options) *cobra.Command {
	var (
		webspace string
		reasons  []string
		number   int
		long     bool
	)
	cmd := &cobra.Command{
		Use:   "trace",
		Short: "Watch what the node drops, and why",
		Long: "Watch what the node drops, and why. Every drop is counted (lanyard status drops); what is shown here is a\n" +
			"rate-limited sample of the frames, decoded as far as it reaches. Ends with ctrl-C, or after --number.",
		Example: "  lanyard trace\n  lanyard trace --webspace ws-u3 --number 10\n  lanyard trace --json | jq -r .reason",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, r := range reasons {
				if meaning(r) == "" {
					return usageError{fmt.Errorf("there is no reason %q; there are: %s", r, strings.Join(reasonNames(), ", "))}
				}
			}
			c := o.client()
			defer c.Close()
			status, err := c.Status(cmd.Context())
			if err != nil {
				return err
			}
			t := tracer{options: o, tunnelPort: status.Node.Port, reasons: reasons, left: number, long: long, explained: map[string]bool{}}
			if t.tunnelPort == 0 {
				t.tunnelPort = defaultTunnelPort
			}
			if !o.json {
				whose := "all webspaces"
				if webspace != "" {
					whose = webspace
				}
				fmt.Fprintf(o.streams.Err, "sampled drops of %s on %s; ctrl-C ends, totals: lanyard status drops\n",
					cli.Printable(whose), cli.Printable(status.Node.Name))
			}
			err = c.Drops(cmd.Context(), webspace, t.each)
			if errors.Is(err, errEnough) {
				return nil
			}
			return err
		},
	}
	cmd.Flags().StringVar(&webspace, "webspace", "", "only drops of this `webspace`, e.g. ws-u3")
	cmd.Flags().StringSliceVar(&reasons, "reason", nil, "only these `reasons` (names as in: lanyard status drops)")
	must(cmd.RegisterFlagCompletionFunc("webspace", o.completeWebspaces))
	must(cmd.RegisterFlagCompletionFunc("reason", cobra.FixedCompletions(reasonNames(), cobra.ShellCompDirectiveNoFileComp)))
	cmd.Flags().IntVarP(&number, "number", "n", 0, "end after this many (0: never)")
	cmd.Flags().BoolVarP(&long, "long", "l", false, "show MAC addresses and the bytes as well")
	return cmd
}

// completeWebspaces offers those of this node.
func (o *options) completeWebspaces(cmd *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Second)
	defer cancel()
	c := o.client()
	defer c.Close()
	status, err := c.Status(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, p := range status.Ports {
		if strings.HasPrefix(p.Owner, prefix) {
			names = append(names, p.Owner)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// errEnough ends the stream after --number.
var errEnough = errors.New("enough drops were shown")

type tracer struct {
	*options
	tunnelPort uint16
	reasons    []string
	left       int // 0: no limit
	long       bool
	width      int             // of the column of webspaces, so far
	explained  map[string]bool // reasons whose meaning was shown
}

// tracedDrop is the JSON of one line.
type tracedDrop struct {
	nodeapi.Drop
	Frame   *frame `json:"frame,omitempty"`
	Summary string `json:"summary"`
}

func (t *tracer) each(d nodeapi.Drop) error {
	if len(t.reasons) > 0 && !contains(t.reasons, d.Reason) {
		return nil
	}
	f := decode(d.Data, t.tunnelPort)
	var err error
	if t.json {
		err = t.printLine(tracedDrop{Drop: d, Frame: f, Summary: f.String()})
	} else {
		t.show(d, f)
	}
	if err != nil {
		return err
	}
	if t.left > 0 {
		if t.left--; t.left == 0 {
			return errEnough
		}
	}
	return nil
}

func (t *tracer) show(d nodeapi.Drop, f *frame) {
	s := t.streams
	if d.Missed > 0 {
		fmt.Fprintf(s.Err, "missed %s: this terminal is too slow\n", cli.Count(int(d.Missed), "sample", "samples"))
	}
	if !t.explained[d.Reason] && meaning(d.Reason) != "" {
		t.explained[d.Reason] = true
		fmt.Fprintf(s.Err, "%s: %s\n", cli.Printable(d.Reason), meaning(d.Reason))
	}
	who := d.Webspace
	if who == "" {
		who = "-"
	}
	t.width = max(t.width, len(who))
	where := d.Interface
	if where == "" {
		where = fmt.Sprintf("if%d", d.Ifindex)
	}
	what := f.String()
	if f != nil && strings.Contains(d.Reason, "mac") && f.Src != "" {
		what = "from MAC " + f.SrcMAC + ": " + what // the addresses alone look right
	}
	fmt.Fprintf(s.Out, "%s  %s  %s  %s %s\n", s.Paint(cli.Dim, d.Time.Local().Format("15:04:05.000000")),
		s.Paint(cli.Bold, fmt.Sprintf("%-*s", t.width, who)), s.Paint(cli.Red, fmt.Sprintf("%-18s", d.Reason)),
		cli.Printable(what), s.Paint(cli.Dim, fmt.Sprintf("(%d bytes, %s on %s)", d.Length, d.Hook, where)))
	if t.long {
		if f != nil {
			fmt.Fprintf(s.Out, "    %s > %s\n", f.SrcMAC, f.DstMAC)
		}
		for i := 0; i < len(d.Data); i += 16 {
			fmt.Fprintf(s.Out, "    %04x  % x\n", i, d.Data[i:min(i+16, len(d.Data))])
		}
	}
}

func contains(list []string, name string) bool {
	for _, x := range list {
		if strings.EqualFold(x, name) {
			return true
		}
	}
	return false
}
