package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/lanyard-project/lanyard/control/cli"
	"github.com/lanyard-project/lanyard/control/node/nodeapi"
)

// options are the flags that all commands share.
type options struct {
	streams cli.Streams
	socket  string
	json    bool
	version string
}

func (o *options) client() *nodeapi.Client {
	if o.socket == "" {
		o.socket = os.Getenv("LANYARD_SOCKET")
	}
	return nodeapi.New(o.socket)
}

// print writes v as indented JSON.
func (o *options) print(v any) error {
	e := json.NewEncoder(o.streams.Out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// Run is the whole of the program: parse args, do it, report the error, give the exit code.
func Run(ctx context.Context, s cli.Streams, version string, args []string) int {
	o := &options{streams: s, version: version}
	cmd := command(o)
	cmd.SetArgs(args)
	return Report(s, cmd.ExecuteContext(ctx), o.json)
}

// Command is the tree of commands, for the reference.
func Command() *cobra.Command { return command(&options{}) }

// printLine writes v as one line of JSON.
func (o *options) printLine(v any) error {
	e := json.NewEncoder(o.streams.Out)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

func command(o *options) *cobra.Command {
	root := &cobra.Command{
		Use:   "lanyard",
		Short: "Use a webspace, and look after the node that this machine is",
		Long: "Use a webspace (login, ws), and look after the node that this machine is: see what its daemon knows,\n" +
			"what it drops and why, whether the machine is fit, and whether every path through the network works.",
		SilenceErrors: true, // Report prints them
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetOut(o.streams.Out)
	root.SetErr(o.streams.Err)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	flags := root.PersistentFlags()
	flags.StringVar(&o.socket, "socket", "", "admin `socket` of lanyardd (default: $LANYARD_SOCKET, or else "+nodeapi.DefaultSocket+")")
	flags.BoolVar(&o.json, "json", false, "print JSON, errors too")
	root.AddCommand(statusCommand(o), wakesCommand(o), awakeCommand(o), traceCommand(o), checkCommand(o), connectivityCommand(o), bugreportCommand(o), imagesCommand(o), resyncCommand(o), versionCommand(o))
	root.AddCommand(memberCommands(o)...)
	strictArgs(root)
	return root
}

// strictArgs makes complaints about arguments usage errors, in the whole tree.
func strictArgs(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usageError{err}
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		strictArgs(sub)
	}
}

func versionCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this program",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if o.json {
				return o.print(map[string]string{"version": o.version})
			}
			_, err := fmt.Fprintln(o.streams.Out, o.version)
			return err
		},
	}
}

func resyncCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "resync",
		Short: "Make the node look at LXD again, now",
		Long: "Make the node look at LXD again, now, and print what that changed in the kernel's tables.\n" +
			"The daemon does so by itself at every event and every few seconds: this is for impatience and doubt.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c := o.client()
			defer c.Close()
			r, err := c.Resync(cmd.Context())
			if err != nil {
				return err
			}
			if o.json {
				return o.print(r)
			}
			renderSync(o.streams, r)
			return nil
		},
	}
}
