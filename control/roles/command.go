package roles

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/lanyard-project/lanyard/control/account"
	"github.com/lanyard-project/lanyard/control/node"
	"github.com/lanyard-project/lanyard/control/node/config"
	"github.com/lanyard-project/lanyard/control/systemd"
)

// Command is `lanyardd`. version is of the build; stdout and stderr are where data and messages go.
func Command(version string, stdout, stderr io.Writer) *cobra.Command {
	root := daemon(version, nil)
	root.Use = "lanyardd"
	root.Short = "The daemon of a Lanyard machine"
	root.Version = version
	root.SilenceUsage, root.SilenceErrors = true, true
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetVersionTemplate("lanyardd {{.Version}}\n")
	only := daemon(version, []Role{Node})
	only.Use = "node"
	only.Short = "Run only the dataplane of this machine (the same as --role node)"
	root.AddCommand(only, accountCommand(), &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), version)
			return err
		},
	})
	return root
}

// daemon runs roles; with none, those of --role.
func daemon(version string, roles []Role) *cobra.Command {
	var file string
	var teardown, printConfig bool
	list := join(Default)
	cmd := &cobra.Command{
		Long: `Run this machine's part of Lanyard. What it does are its roles:

  node      join its webspaces to the LAN, give them addresses, and let them in and out
  control   serve the REST API, with the accounts of its members
  images    serve images to LXD and Incus, out of GitHub's releases and local folders

Every setting can be given in the YAML file (lan.prefix), in the environment (LANYARD_LAN_PREFIX) and as a flag
(--lan-prefix); the later ones win. When the daemon ends, traffic flows on; --teardown takes everything down.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				file = os.Getenv("LANYARD_CONFIG")
			}
			roles := roles
			if len(roles) == 0 {
				var err error
				if roles, err = Parse(list); err != nil {
					return err
				}
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
				return node.Teardown(ctx, c, log)
			case printConfig:
				if err != nil {
					return err
				}
				_, err := cmd.OutOrStdout().Write(resolved.YAML(true))
				return err
			case err != nil && slices.Contains(roles, Node): // other roles need none of the machine's interfaces
				return err
			case err == nil:
				c = resolved
			}
			for _, w := range warnings {
				log.Warn(w)
			}
			return run(ctx, &Machine{Config: c, Version: version, Log: log}, roles)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&file, "config", "", "YAML file (default $LANYARD_CONFIG, or none)")
	if len(roles) == 0 {
		flags.StringVar(&list, "role", list, "what this machine does: a list of "+known())
	}
	flags.BoolVar(&printConfig, "print-config", false, "print the effective configuration with all keys, and end")
	flags.BoolVar(&teardown, "teardown", false, "remove everything that the daemon ever made, and end")
	cmd.MarkFlagsMutuallyExclusive("print-config", "teardown")
	config.Flags(flags)
	return cmd
}

// run runs the roles and keeps the service manager informed.
func run(ctx context.Context, m *Machine, roles []Role) error {
	tell := func(state string) {
		if err := systemd.Notify(state); err != nil {
			m.Log.Warn("the service manager does not listen", "err", err)
		}
	}
	defer tell("STOPPING=1")
	return Run(ctx, m, roles, func() { tell("READY=1") })
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
	const lines = "lanyardd: %s\n  cause: %s\n  next:  %s\n"
	if e, ok := errors.AsType[*config.Error](err); ok {
		fmt.Fprintf(w, lines, e.What, e.Cause, e.Next)
		return
	}
	if e, ok := errors.AsType[*account.Error](err); ok {
		fmt.Fprintf(w, lines, e.What, e.Cause, e.Next)
		return
	}
	fmt.Fprintf(w, "lanyardd: %v\n", err)
}
