package admin

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyard-project/lanyard/control/cli"
	"github.com/lanyard-project/lanyard/control/node/nodeapi"
)

func wakesCommand(o *options) *cobra.Command {
	var limit int
	var before uint64
	cmd := &cobra.Command{
		Use:   "wakes [WEBSPACE]",
		Short: "Show what woke webspaces of this node, and what put them to sleep",
		Long: "Show what woke webspaces of this node, and what put them to sleep, the newest first: who sent the packet, how it\n" +
			"ended, and when each step was reached, counted from the packet: the start began, LXD's start returned, the\n" +
			"interface was up, it had its address, its port listened, it answered.\n\n" +
			"WEBSPACE is a name, or the number of a member.",
		Example: "  lanyard wakes\n  lanyard wakes ws-u3 --limit 5\n  lanyard wakes --json | jq '.wakes[] | select(.outcome != \"done\")'",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c := o.client()
			defer c.Close()
			p, err := c.Wakes(cmd.Context(), strings.Join(args, ""), before, limit)
			if err != nil {
				return err
			}
			if o.json {
				return o.print(p)
			}
			renderWakes(o.streams, p)
			return nil
		},
	}
	cmd.Flags().IntVar(&limit, "limit", shortTable, "how many at most")
	cmd.Flags().Uint64Var(&before, "before", 0, "only those before the one with this `id`")
	return cmd
}

func renderWakes(s cli.Streams, p nodeapi.WakePage) {
	t := cli.Table{Indent: "  ", Head: []string{"WHEN", "WEBSPACE", "WHAT", "BECAUSE", "OUTCOME", "TOOK", "BEGUN", "STARTED", "CARRIER", "LEASE", "OPEN", "ANSWERED"}}
	var why []string
	for _, w := range p.Wakes {
		st := cli.Green
		switch w.Outcome {
		case "done":
		case "undone", "refused", "forced":
			st = cli.Yellow
		default:
			st = cli.Red
		}
		row := []cli.Cell{cli.Text(w.Time.Local().Format("2006-01-02 15:04:05")), cli.Text(w.Webspace), cli.Text(w.Kind), cli.Text(because(w)),
			cli.Styled(st, w.Outcome), {Text: cli.Span(w.Took), Right: true}}
		for _, step := range []string{"decided", "started", "carrier", "lease", "open", "delivered"} {
			c := cli.Cell{Right: true}
			if after, ok := w.After[step]; ok {
				c.Text = cli.Span(after)
			}
			row = append(row, c)
		}
		t.Row(row...)
		if w.Error != "" {
			why = append(why, fmt.Sprintf("%s: %s", w.Webspace, w.Error))
		}
	}
	if len(p.Wakes) == 0 {
		fmt.Fprintln(s.Out, "nothing was woken or put to sleep")
		return
	}
	t.Print(s)
	for _, e := range why {
		fmt.Fprintln(s.Out, "  "+s.Paint(cli.Red, e))
	}
	if p.Next > 0 {
		fmt.Fprintln(s.Out, "  "+s.Paint(cli.Dim, fmt.Sprintf("older ones: --before %d", p.Next)))
	}
}

// because says in a few words what the cause was.
func because(w nodeapi.Wake) string {
	out := w.Via
	if w.Proto != "" {
		out += " " + w.Proto
		if w.Port != 0 {
			out += " " + strconv.Itoa(int(w.Port))
		}
	}
	if w.Peer.Addr().IsValid() {
		out += " from " + peer(w.Peer)
	}
	if w.Detail != "" {
		out += ": " + w.Detail
	}
	return out
}

// peer leaves out a port that is not known.
func peer(p netip.AddrPort) string {
	if p.Port() == 0 {
		return p.Addr().String()
	}
	return p.String()
}

func awakeCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "awake [WEBSPACE]",
		Short: "Show what keeps webspaces of this node awake",
		Long: "Show what keeps webspaces of this node awake: open connections by name, work that LXD does for somebody, sessions,\n" +
			"recent use, or that nobody set a time to sleep. The one that was used last comes first.\n\n" +
			"WEBSPACE is a name, or the number of a member.",
		Example: "  lanyard awake\n  lanyard awake ws-u3",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c := o.client()
			defer c.Close()
			l, err := c.Awake(cmd.Context(), strings.Join(args, ""))
			if err != nil {
				return err
			}
			if o.json {
				return o.print(l)
			}
			renderAwake(o.streams, l, time.Now())
			return nil
		},
	}
}

func renderAwake(s cli.Streams, l nodeapi.AwakeList, now time.Time) {
	t := cli.Table{Indent: "  ", Head: []string{"WEBSPACE", "STATE", "LAST USE", "NAPS", "SLEEPS", "BECAUSE"}}
	for _, w := range l.Webspaces {
		state, st := strings.ToLower(w.Status), cli.Plain
		switch w.Status {
		case "Running":
			state, st = "awake", cli.Green
		case "Frozen":
			state, st = "napping", cli.Yellow
		case "Stopped":
			state, st = "asleep", cli.Dim
		}
		first := ""
		if len(w.Reasons) > 0 {
			first = w.Reasons[0].What
		}
		t.Row(cli.Text(w.Webspace), cli.Styled(st, state), cli.Text(cli.Ago(now, w.LastUse)), cli.Text(in(now, w.NapAt)), cli.Text(in(now, w.SleepAt)), cli.Text(first))
		for _, r := range w.Reasons[min(1, len(w.Reasons)):] {
			t.Row(cli.Text(""), cli.Text(""), cli.Text(""), cli.Text(""), cli.Text(""), cli.Text(r.What))
		}
	}
	if len(t.Rows) == 0 {
		fmt.Fprintln(s.Out, "there are no webspaces on this node")
		return
	}
	t.Print(s)
}

// in is how long after now something will be; "never" for the zero time.
func in(now, then time.Time) string {
	switch {
	case then.IsZero():
		return "-"
	case !then.After(now):
		return "now"
	}
	return "in " + cli.Span(then.Sub(now).Round(time.Second))
}
