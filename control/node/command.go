package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/lanyard-project/lanyard/control/node/config"
)

// Command is `lanyardd`, with its one role so far. version is of the build; stdout and stderr are where data and
// messages go.
func Command(version string, stdout, stderr io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:           "lanyardd",
		Short:         "The daemon of a Lanyard machine",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version,
	}
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetVersionTemplate("lanyardd {{.Version}}\n")
	root.AddCommand(nodeCommand(version), &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), version)
			return err
		},
	})
	return root
}

// nodeCommand is `lanyardd node`.
func nodeCommand(version string) *cobra.Command {
	var file string
	var teardown, printConfig bool
	cmd := &cobra.Command{
		Use:   "node",
		Short: "Run the dataplane of this machine",
		Long: `Run the dataplane of this machine: join its webspaces to the LAN, give them addresses, and let them in and out.

Every setting can be given in the YAML file (lan.prefix), in the environment (LANYARD_LAN_PREFIX) and as a flag
(--lan-prefix); the later ones win. When the daemon ends, traffic flows on; --teardown takes everything down.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				file = os.Getenv("LANYARD_CONFIG")
			}
			c, err := config.Load(config.Sources{File: file, Environ: os.Environ(), Flags: cmd.Flags()})
			if err != nil {
				return err
			}
			log, err := logger(c.Log, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			resolved, warnings, err := c.Resolve(config.ThisMachine{})
			switch {
			case teardown:
				if err == nil {
					c = resolved
				}
				return Teardown(ctx, c, log)
			case printConfig:
				if err != nil {
					return err
				}
				_, err := cmd.OutOrStdout().Write(resolved.YAML(true))
				return err
			case err != nil:
				return err
			}
			for _, w := range warnings {
				log.Warn(w)
			}
			return run(ctx, resolved, version, log)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&file, "config", "", "YAML file (default $LANYARD_CONFIG, or none)")
	flags.BoolVar(&printConfig, "print-config", false, "print the effective configuration with all keys, and end")
	flags.BoolVar(&teardown, "teardown", false, "remove everything that the daemon ever made, and end")
	cmd.MarkFlagsMutuallyExclusive("print-config", "teardown")
	config.Flags(flags)
	return cmd
}

// run runs the node and keeps the service manager informed.
func run(ctx context.Context, c config.Config, version string, log *slog.Logger) error {
	tell := func(state string) {
		if err := Notify(state); err != nil {
			log.Warn("the service manager does not listen", "err", err)
		}
	}
	defer tell("STOPPING=1")
	return Run(ctx, c, version, log, func() { tell("READY=1") })
}

// logger writes to standard error, as configured.
func logger(c config.Log, w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		return nil, &config.Error{What: "cannot use log.level", Cause: err.Error(), Next: "use debug, info, warn or error", Err: err}
	}
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(newQuiet(slog.NewJSONHandler(w, o))), nil
	}
	return slog.New(newQuiet(slog.NewTextHandler(w, o))), nil
}

// Explain writes an error for a person: what failed, the likely cause, and the next command, a line each.
func Explain(w io.Writer, err error) {
	var e *config.Error
	if errors.As(err, &e) {
		fmt.Fprintf(w, "lanyardd: %s\n  cause: %s\n  next:  %s\n", e.What, e.Cause, e.Next)
		return
	}
	fmt.Fprintf(w, "lanyardd: %v\n", err)
}
