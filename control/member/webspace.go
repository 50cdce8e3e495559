package member

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyard-project/lanyard/control/api/client"
	"github.com/lanyard-project/lanyard/control/api/wire"
	"github.com/lanyard-project/lanyard/control/cli"
)

// webspace is `lanyard ws`.
func (a *app) webspace() *cobra.Command {
	cmd := &cobra.Command{
		Use: "ws", Aliases: []string{"webspace"}, Short: "Use a webspace", Args: cobra.NoArgs,
		Long: "Use your webspace. Administrators use somebody else's with --user.",
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVarP(&a.user, "user", "u", "", "for administrators: whose webspace, `NAME` or id:NUMBER")
	cmd.AddCommand(
		a.images(), a.init(), a.delete(), a.status(), a.list(), a.config(), a.domains(), a.ports(),
		a.simple("boot", "Boot it", "Boot the webspace. One that naps is thawed.", []string{"start"},
			func(ctx context.Context, c *client.ClientWithResponses) error {
				resp, err := c.Start(ctx, a.target())
				return answer(resp, err, nil)
			}, "Awake."),
		a.simple("reboot", "Reboot it", "Shut the webspace down, and boot it.", nil,
			func(ctx context.Context, c *client.ClientWithResponses) error {
				resp, err := c.Reboot(ctx, a.target())
				return answer(resp, err, nil)
			}, "Rebooted."),
		a.simple("shutdown", "Shut it down", "Shut the webspace down: gracefully, and by force when it takes too long. A packet for it wakes it again, as its wake policy says.", []string{"stop"},
			func(ctx context.Context, c *client.ClientWithResponses) error {
				resp, err := c.Shutdown(ctx, a.target())
				return answer(resp, err, nil)
			}, "Asleep."),
		a.simple("sync", "Have the server look at it again", "Have the server look at the webspace again. It does so by itself; this is for impatience and doubt.", nil,
			func(ctx context.Context, c *client.ClientWithResponses) error {
				resp, err := c.Sync(ctx, a.target())
				return answer(resp, err, nil)
			}, "Looked at it again."),
		a.log(), a.exec(), a.shell(), a.console(), a.copy(), a.watch(), a.why(), a.whyAwake(), a.metrics(),
	)
	return cmd
}

func (a *app) images() *cobra.Command {
	return &cobra.Command{Use: "images", Short: "List what a webspace can be made from", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := a.imageList(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON(cmd) {
				return a.print(list)
			}
			t := cli.Table{Head: []string{"IMAGE", "SIZE", "FINGERPRINT", "DESCRIPTION"}}
			for _, i := range list {
				name, description := "", i.Properties["description"]
				if len(i.Aliases) > 0 {
					name = value(i.Aliases[0].Name)
					description = cmp.Or(description, value(i.Aliases[0].Description))
				}
				t.Row(cli.Text(name), cli.Number(cli.Size(i.Size)), cli.Text(i.Fingerprint[:min(12, len(i.Fingerprint))]), cli.Text(description))
			}
			t.Print(a.streams)
			return nil
		}}
}

// imageList needs no login.
func (a *app) imageList(ctx context.Context) ([]wire.Image, error) {
	conn, err := a.connection()
	if err != nil {
		return nil, err
	}
	conn.Token = ""
	c, err := a.clientOf(conn)
	if err != nil {
		return nil, err
	}
	var list []wire.Image
	resp, err := c.GetImages(ctx)
	err = answer(resp, err, &list)
	return list, err
}

func (a *app) status() *cobra.Command {
	return &cobra.Command{Use: "status", Aliases: []string{"state"}, Short: "Show what it does", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var st wire.State
			resp, err := c.GetState(cmd.Context(), a.target())
			if err := answer(resp, err, &st); err != nil {
				return err
			}
			if asJSON(cmd) {
				return a.print(st)
			}
			a.renderState(st)
			return nil
		}}
}

func (a *app) renderState(st wire.State) {
	style, status := cli.Yellow, string(value(st.Status))
	if status == "" {
		status = map[bool]string{true: "awake", false: "asleep"}[st.Running]
	}
	if status == string(wire.StatusAwake) {
		style = cli.Green
	}
	line := func(name string, format string, args ...any) {
		fmt.Fprintf(a.streams.Out, "%s %s\n", a.streams.Paint(cli.Dim, fmt.Sprintf("%-10s", name)), cli.Printable(fmt.Sprintf(format, args...)))
	}
	fmt.Fprintf(a.streams.Out, "%s %s\n", a.streams.Paint(cli.Dim, fmt.Sprintf("%-10s", "status")), a.streams.Paint(style, status))
	if st.Running {
		line("uptime", "%s", cli.Seconds(st.Uptime))
		line("processes", "%d", st.Usage.Processes)
		line("memory", "%s", cli.Size(st.Usage.Memory))
		line("cpu", "%s", cli.Span(time.Duration(st.Usage.CPU)))
	}
	for _, name := range sorted(st.Usage.Disks) {
		line("disk", "%s: %s", name, cli.Size(st.Usage.Disks[name]))
	}
	for _, name := range sorted(st.NetworkInterfaces) {
		n := st.NetworkInterfaces[name]
		var at []string
		for _, x := range n.Addresses {
			if value(x.Scope) != "link" {
				at = append(at, x.Address+"/"+x.Netmask)
			}
		}
		line(name, "%s  received %s, sent %s", strings.Join(at, ", "), cli.Size(n.Counters.BytesReceived), cli.Size(n.Counters.BytesSent))
	}
}

func sorted[M ~map[string]V, V any](m M) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// list is for administrators.
func (a *app) list() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "For administrators: list all webspaces", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			all := []wire.WebspaceSummary{}
			var cursor *string
			for {
				var page wire.WebspacePage
				limit := int32(1000)
				resp, err := c.ListWebspaces(cmd.Context(), &wire.ListWebspacesParams{Cursor: cursor, Limit: &limit})
				if err := answer(resp, err, &page); err != nil {
					return err
				}
				all = append(all, page.Webspaces...)
				if cursor = page.Next; value(cursor) == "" {
					break
				}
			}
			if asJSON(cmd) {
				return a.print(all)
			}
			t := cli.Table{Head: []string{"NUMBER", "NAME", "STATUS", "NODE", "ADDRESS", "PROBLEM"}}
			for _, w := range all {
				t.Row(cli.Number(fmt.Sprint(w.User)), cli.Text(w.Name), cli.Text(string(w.Status)), cli.Text(value(w.Node)), cli.Text(value(value(w.Webspace).Address)), cli.Text(value(w.Problem)))
			}
			t.Print(a.streams)
			return nil
		}}
}

func (a *app) log() *cobra.Command {
	var clear bool
	cmd := &cobra.Command{Use: "log", Short: "Show what it wrote to its console", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if clear {
				resp, err := c.ClearLog(cmd.Context(), a.target())
				if err := answer(resp, err, nil); err != nil {
					return err
				}
				return a.say(cmd, struct{}{}, "Cleared the log.")
			}
			var text string
			resp, err := c.GetLog(cmd.Context(), a.target())
			if err := answer(resp, err, &text); err != nil {
				return err
			}
			if asJSON(cmd) {
				return a.print(map[string]string{"log": text})
			}
			_, err = fmt.Fprint(a.streams.Out, a.safeLines(text))
			return err
		}}
	cmd.Flags().BoolVarP(&clear, "clear", "c", false, "clear it instead")
	return cmd
}

// safeLines makes a console's text safe for a terminal, line by line; programs get it as it is.
func (a *app) safeLines(text string) string {
	if !a.streams.OutTTY {
		return text
	}
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(cli.Printable(strings.TrimRight(line, "\r\n")) + "\n")
	}
	return b.String()
}
