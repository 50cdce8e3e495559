// Command lab builds a lab of Lanyard nodes on this machine and takes it down: see package lab.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"github.com/lanyard-project/lanyard/hack/lab"
)

const usage = `lab: several Lanyard nodes on one machine, for demonstration and tests

  lab up [--nodes 3] [--id lab]         bring it up and leave it running
  lab demo                              bring one up, show the main things, take it down
  lab status [--id lab]                 what is running
  lab shell [--id lab] MACHINE [CMD..]  a shell (or one command) on n1, n2, ..., router, server or client
  lab down [--id lab] [--all]           take it down, also what a killed run has left
  lab image                             build the Debian image of the tests, unless .cache/ has it
`

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	err := run(ctx, os.Args[1:])
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && len(os.Args) > 1 && os.Args[1] == "shell":
		os.Exit(exit.ExitCode())
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		fmt.Fprint(os.Stderr, usage)
		return flag.ErrHelp
	}
	flags := flag.NewFlagSet("lab "+args[0], flag.ContinueOnError)
	flags.Usage = func() { fmt.Fprint(os.Stderr, usage) }
	id := flags.String("id", "lab", "name of the lab")
	nodes := flags.Int("nodes", 3, "number of nodes")
	all := flags.Bool("all", false, "every lab on this machine")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{ReplaceAttr: plain}))
	switch args[0] {
	case "up":
		return up(ctx, *id, *nodes, log)
	case "down":
		return down(*id, *all)
	case "image":
		_, err := lab.BuildDebian(ctx)
		return err
	case "demo":
		return runDemo(ctx, log)
	case "status":
		return status(ctx, *id, log)
	case "shell":
		return shell(ctx, *id, flags.Args(), log)
	default:
		return fmt.Errorf("%q is not a command; next: lab --help", args[0])
	}
}

// plain drops time and level: these lines are progress for a person.
func plain(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
		return slog.Attr{}
	}
	return a
}

func up(ctx context.Context, id string, nodes int, log *slog.Logger) error {
	l, err := lab.New(ctx, lab.Options{ID: id, Control: true, Nodes: nodes, Detached: true, Log: log})
	if err != nil {
		return err
	}
	fmt.Print(l.Guide())
	return nil
}

func down(id string, all bool) error {
	ids := []string{id}
	if all {
		var err error
		if ids, err = lab.List(); err != nil {
			return err
		}
	}
	for _, id := range ids {
		if err := lab.Clean(id, ""); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "lab %s: nothing left\n", id)
	}
	return nil
}

func status(ctx context.Context, id string, log *slog.Logger) error {
	l, err := lab.Open(id, log)
	if err != nil {
		return err
	}
	fmt.Print(l.Describe(ctx))
	return nil
}

func shell(ctx context.Context, id string, args []string, log *slog.Logger) error {
	l, err := lab.Open(id, log)
	if err != nil {
		return err
	}
	if len(args) == 0 {
		return fmt.Errorf("which machine? next: lab shell %s", strings.Join(l.Names(), "|"))
	}
	ns := l.Machine(args[0])
	if ns == nil {
		return fmt.Errorf("no machine %q here; next: lab shell %s", args[0], strings.Join(l.Names(), "|"))
	}
	command := args[1:]
	if len(command) == 0 {
		command = []string{"/bin/bash", "--norc", "-i"}
	}
	cmd := ns.Command(ctx, command...)
	cmd.SysProcAttr, cmd.Cancel = nil, nil // a shell belongs to the terminal's own process group
	cmd.Env = append(cmd.Env, "PS1="+args[0]+"# ")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd.Run()
}
