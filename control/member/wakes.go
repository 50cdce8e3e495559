package member

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyard-project/lanyard/control/api/wire"
	"github.com/lanyard-project/lanyard/control/cli"
)

const stamp = "2006-01-02 15:04:05"

func (a *app) why() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:   "why",
		Short: "Show why it woke, napped and slept",
		Long:  "Show the latest times that the webspace woke, napped or fell asleep, newest first: what caused it, and how long it took.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if limit < 1 || limit > 100000 {
				return cli.Usage("--limit must be between 1 and 100000", "leave it out")
			}
			all := []wire.WakeRecord{}
			var cursor *string
			for len(all) < limit {
				var page wire.WakePage
				n := int32(min(limit-len(all), 1000))
				resp, err := c.GetWakes(cmd.Context(), a.target(), &wire.GetWakesParams{Cursor: cursor, Limit: &n})
				if err := answer(resp, err, &page); err != nil {
					return err
				}
				all = append(all, page.Wakes...)
				if cursor = page.Next; value(cursor) == "" || len(page.Wakes) == 0 {
					break
				}
			}
			if asJSON(cmd) {
				return a.print(all)
			}
			t := cli.Table{Head: []string{"TIME", "WHAT", "CAUSE", "FROM", "PORT", "TOOK", "OUTCOME"}}
			for _, w := range all {
				t.Row(cli.Text(w.Time.Local().Format(stamp)), cli.Text(w.Kind), cli.Text(w.Cause), cli.Text(value(w.Peer)), cli.Text(portOf(w)), cli.Number(took(w)), cli.Text(outcome(w)))
			}
			t.Print(a.streams)
			return nil
		},
	}
	cmd.Flags().IntVarP(&limit, "limit", "n", 20, "at most so `many`")
	return cmd
}

func portOf(w wire.WakeRecord) string {
	if w.Port == nil {
		return ""
	}
	text := fmt.Sprintf("%s/%d", value(w.Protocol), *w.Port)
	if w.Forward != nil {
		text += fmt.Sprintf(" by %d", *w.Forward)
	}
	return text
}

// took is the last of the steps.
func took(w wire.WakeRecord) string {
	longest := 0.0
	for _, s := range value(w.Latency) {
		longest = max(longest, s)
	}
	if longest == 0 {
		return ""
	}
	return cli.Seconds(longest)
}

func outcome(w wire.WakeRecord) string {
	if value(w.Error) != "" {
		return w.Outcome + ": " + *w.Error
	}
	return w.Outcome
}

func (a *app) whyAwake() *cobra.Command {
	return &cobra.Command{
		Use:   "why-awake",
		Short: "Show what keeps it awake",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var got wire.WhyAwake
			resp, err := c.GetWhyAwake(cmd.Context(), a.target())
			if err := answer(resp, err, &got); err != nil {
				return err
			}
			if asJSON(cmd) {
				return a.print(got)
			}
			line := string(got.Status)
			if got.Since != nil {
				line += " since " + got.Since.Local().Format(stamp)
			}
			fmt.Fprintln(a.streams.Out, cli.Printable(line))
			for _, r := range got.Reasons {
				fmt.Fprintf(a.streams.Out, "  %s %s%s\n", a.streams.Paint(cli.Dim, fmt.Sprintf("%-8s", r.Kind)), cli.Printable(r.Detail), until(r.Until))
			}
			if len(got.Reasons) == 0 && got.Status == wire.StatusAwake {
				fmt.Fprintln(a.streams.Out, "  nothing keeps it awake")
			}
			for _, then := range []struct {
				what string
				at   *time.Time
			}{{"naps", got.NapAt}, {"falls asleep", got.SleepAt}} {
				if then.at != nil {
					fmt.Fprintf(a.streams.Out, "  it %s at %s, if nothing happens until then\n", then.what, then.at.Local().Format(stamp))
				}
			}
			return nil
		},
	}
}

func until(t *time.Time) string {
	if t == nil {
		return ""
	}
	return ", until " + t.Local().Format(stamp)
}

func (a *app) metrics() *cobra.Command {
	var since, step time.Duration
	cmd := &cobra.Command{
		Use:   "metrics",
		Short: "Show its traffic, CPU time, memory and wakes over time",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			from := time.Now().Add(-since).UTC()
			params := &wire.GetMetricsParams{Since: &from}
			if step > 0 {
				n := int32(min(max(step/time.Second, 1), 1<<30))
				params.Step = &n
			}
			var got wire.Metrics
			resp, err := c.GetMetrics(cmd.Context(), a.target(), params)
			if err := answer(resp, err, &got); err != nil {
				return err
			}
			if asJSON(cmd) {
				return a.print(got)
			}
			t := cli.Table{Head: []string{"TIME", "CPU", "MEMORY", "PROCESSES", "RECEIVED", "SENT", "WAKES"}}
			for _, s := range got.Samples {
				wakes := ""
				if s.Wakes != nil {
					wakes = strconv.FormatInt(*s.Wakes, 10)
				}
				t.Row(cli.Text(s.Time.Local().Format(stamp)), cli.Number(cli.Seconds(s.CPU)), cli.Number(cli.Size(s.Memory)), cli.Number(strconv.FormatInt(s.Processes, 10)),
					cli.Number(cli.Size(s.BytesReceived)), cli.Number(cli.Size(s.BytesSent)), cli.Number(wakes))
			}
			t.Print(a.streams)
			return nil
		},
	}
	cmd.Flags().DurationVar(&since, "since", time.Hour, "how far back, such as 90m or 24h")
	cmd.Flags().DurationVar(&step, "step", 0, "time between samples (default: what is kept)")
	return cmd
}
