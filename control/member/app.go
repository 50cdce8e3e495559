package member

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/lanyard-project/lanyard/control/api/client"
	"github.com/lanyard-project/lanyard/control/cli"
)

// app is what all commands share.
type app struct {
	streams cli.Streams
	version string

	server   string // of --server; "": of the environment or the credentials
	user     string // of --user; whose webspace
	insecure bool
}

// Commands are the members' commands, for a root that has the flag --json.
func Commands(s cli.Streams, version string) []*cobra.Command {
	a := &app{streams: s, version: version}
	all := []*cobra.Command{a.login(), a.logout(), a.whoami(), a.webspace()}
	for _, c := range all {
		flags := c.PersistentFlags()
		flags.StringVar(&a.server, "server", "", "`URL` of the API (default: $LANYARD_SERVER, or else that of the login)")
		flags.BoolVar(&a.insecure, "insecure", false, "believe any certificate, and send the token without encryption if asked to")
	}
	return all
}

// Run is the whole of a program that has only these commands.
func Run(ctx context.Context, s cli.Streams, version string, args []string) int {
	root := &cobra.Command{
		Use: "lanyard", Short: "Use your webspace", Long: "Use your webspace: make it, log in to it, and see what it does.",
		SilenceErrors: true, SilenceUsage: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	root.SetArgs(args)
	asJSON := root.PersistentFlags().Bool("json", false, "print JSON, errors too")
	root.AddCommand(Commands(s, version)...)
	root.AddCommand(&cobra.Command{Use: "version", Short: "Print the version of this program", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { _, err := fmt.Fprintln(s.Out, version); return err }})
	return cli.Report(s, root.ExecuteContext(ctx), *asJSON)
}

func asJSON(cmd *cobra.Command) bool {
	f := cmd.Flag("json")
	return f != nil && f.Value.String() == "true"
}

// print writes v as indented JSON.
func (a *app) print(v any) error {
	e := json.NewEncoder(a.streams.Out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// say prints a line for people, or v for programs.
func (a *app) say(cmd *cobra.Command, v any, format string, args ...any) error {
	if asJSON(cmd) {
		return a.print(v)
	}
	_, err := fmt.Fprintln(a.streams.Out, cli.Printable(fmt.Sprintf(format, args...)))
	return err
}

// target is {username} of paths.
func (a *app) target() string {
	if a.user == "" {
		return "self"
	}
	return a.user
}

// simple is a command that asks for one thing and has nothing to show.
func (a *app) simple(use, short, long string, aliases []string, do func(context.Context, *client.ClientWithResponses) error, done string) *cobra.Command {
	return &cobra.Command{Use: use, Aliases: aliases, Short: short, Long: long, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			p := &cli.Progress{Streams: a.streams}
			if a.streams.ErrTTY {
				p.Show("waiting for " + use + " ...")
			}
			err = do(cmd.Context(), c)
			p.End()
			if err != nil {
				return err
			}
			return a.say(cmd, struct{}{}, "%s", done)
		}}
}
