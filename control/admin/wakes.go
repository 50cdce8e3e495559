package admin

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

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

func renderWakes(s Streams, p nodeapi.WakePage) {
	t := table{head: []string{"WHEN", "WEBSPACE", "WHAT", "BECAUSE", "OUTCOME", "TOOK", "BEGUN", "STARTED", "CARRIER", "LEASE", "OPEN", "ANSWERED"}}
	var why []string
	for _, w := range p.Wakes {
		st := green
		switch w.Outcome {
		case "done":
		case "undone", "refused", "forced":
			st = yellow
		default:
			st = red
		}
		row := []cell{text(w.Time.Local().Format("2006-01-02 15:04:05")), text(w.Webspace), text(w.Kind), text(because(w)),
			styled(st, w.Outcome), {text: span(w.Took), right: true}}
		for _, step := range []string{"decided", "started", "carrier", "lease", "open", "delivered"} {
			c := cell{right: true}
			if after, ok := w.After[step]; ok {
				c.text = span(after)
			}
			row = append(row, c)
		}
		t.row(row...)
		if w.Error != "" {
			why = append(why, fmt.Sprintf("%s: %s", w.Webspace, w.Error))
		}
	}
	if len(p.Wakes) == 0 {
		fmt.Fprintln(s.Out, "nothing was woken or put to sleep")
		return
	}
	t.print(s, 0, "")
	for _, e := range why {
		fmt.Fprintln(s.Out, "  "+s.paint(red, e))
	}
	if p.Next > 0 {
		fmt.Fprintln(s.Out, "  "+s.paint(dim, fmt.Sprintf("older ones: --before %d", p.Next)))
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

func renderAwake(s Streams, l nodeapi.AwakeList, now time.Time) {
	t := table{head: []string{"WEBSPACE", "STATE", "LAST USE", "NAPS", "SLEEPS", "BECAUSE"}}
	for _, w := range l.Webspaces {
		state, st := strings.ToLower(w.Status), plain
		switch w.Status {
		case "Running":
			state, st = "awake", green
		case "Frozen":
			state, st = "napping", yellow
		case "Stopped":
			state, st = "asleep", dim
		}
		first := ""
		if len(w.Reasons) > 0 {
			first = w.Reasons[0].What
		}
		t.row(text(w.Webspace), styled(st, state), text(ago(now, w.LastUse)), text(in(now, w.NapAt)), text(in(now, w.SleepAt)), text(first))
		for _, r := range w.Reasons[min(1, len(w.Reasons)):] {
			t.row(text(""), text(""), text(""), text(""), text(""), text(r.What))
		}
	}
	if len(t.rows) == 0 {
		fmt.Fprintln(s.Out, "there are no webspaces on this node")
		return
	}
	t.print(s, 0, "")
}

// in is how long after now something will be; "never" for the zero time.
func in(now, then time.Time) string {
	switch {
	case then.IsZero():
		return "-"
	case !then.After(now):
		return "now"
	}
	return "in " + span(then.Sub(now).Round(time.Second))
}
