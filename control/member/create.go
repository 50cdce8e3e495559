package member

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lanyard-project/lanyard/control/api/wire"
	"github.com/lanyard-project/lanyard/control/cli"
)

func (a *app) init() *cobra.Command {
	var noPassword, ssh bool
	cmd := &cobra.Command{
		Use:     "init IMAGE",
		Aliases: []string{"create"},
		Short:   "Make the webspace",
		Long: `Make the webspace from an image (see: lanyard ws images). The password of its root is asked for, or read from the first line of
standard input. --ssh lets the SSH key of your account in, installs an SSH server where the image has none, and forwards a
port to it.`,
		Args: cobra.ExactArgs(1),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			var names []string
			if list, err := a.imageList(cmd.Context()); err == nil && len(args) == 0 {
				for _, i := range list {
					for _, alias := range i.Aliases {
						names = append(names, value(alias.Name))
					}
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			body := wire.InitRequest{Image: args[0]}
			if ssh {
				body.SSH = &ssh
			}
			if !noPassword {
				password, err := a.secret("Password of its root: ", true)
				if err != nil {
					return err
				}
				body.Password = &password
			}
			resp, err := c.Create(cmd.Context(), a.target(), body, wantEvents)
			made, notes, err := a.created(resp, err)
			if err != nil {
				return err
			}
			for _, note := range notes {
				fmt.Fprintln(a.streams.Err, "Note: "+cli.Printable(note))
			}
			if asJSON(cmd) {
				return a.print(made)
			}
			fmt.Fprintln(a.streams.Out, "Made the webspace"+at(made)+".")
			if ssh && len(notes) == 0 {
				for external, internal := range value(made.Ports) {
					if internal == 22 {
						fmt.Fprintf(a.streams.Out, "Webspace accessible over SSH on port %s\n", cli.Printable(external))
					}
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&noPassword, "no-password", false, "leave root without a password")
	cmd.Flags().BoolVarP(&ssh, "ssh", "s", false, "make it reachable over SSH with the key of your account")
	return cmd
}

func at(w wire.Webspace) string {
	if value(w.Address) == "" {
		return ""
	}
	return " at " + cli.Printable(*w.Address)
}

// created follows a creation: its progress, if the server tells it, what there is to keep in mind, and what comes of it.
func (a *app) created(resp *http.Response, err error) (made wire.Webspace, notes []string, _ error) {
	if err != nil || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		return made, nil, answer(resp, err, &made)
	}
	defer resp.Body.Close()
	p := &cli.Progress{Streams: a.streams}
	defer p.End()
	done := false
	err = events(resp.Body, func(name string, data []byte) error {
		switch name {
		case "progress":
			var step wire.Progress
			if json.Unmarshal(data, &step) == nil {
				percent := -1
				if step.Percent != nil {
					percent = int(*step.Percent)
				}
				if step.Stage == "note" {
					notes = append(notes, step.Text)
					return nil
				}
				p.Percent(step.Text, percent)
			}
		case "error":
			return eventFailure(data)
		case "done":
			done = true
			return json.Unmarshal(data, &made)
		}
		return nil
	})
	if err == nil && !done {
		err = broken("it is not known whether the webspace was made")
	}
	return made, notes, err
}

// eventFailure is an error that came as an event.
func eventFailure(data []byte) error {
	var e wire.Error
	_ = json.Unmarshal(data, &e) // without its text it is still an error
	status := http.StatusInternalServerError
	if e.Status != nil {
		status = int(*e.Status)
	}
	head := http.Header{"Content-Type": {"application/problem+json"}}
	return failure(&http.Response{StatusCode: status, Header: head}, data)
}

func (a *app) delete() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:     "delete",
		Aliases: []string{"destroy"},
		Short:   "Delete it, with everything in it",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if !yes {
				if err := a.confirm(cmd.Context(), "Delete the webspace with everything in it?"); err != nil {
					return err
				}
			}
			resp, err := c.Delete(cmd.Context(), a.target())
			if err := answer(resp, err, nil); err != nil {
				return err
			}
			return a.say(cmd, struct{}{}, "Deleted.")
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

// confirm asks a person; a program must say --yes.
func (a *app) confirm(_ context.Context, question string) error {
	if !a.streams.InTTY {
		return cli.Usage("it needs your consent, and there is no terminal to ask on", "add --yes")
	}
	fmt.Fprint(a.streams.Err, question+" [y/N] ")
	line, err := bufio.NewReader(io.LimitReader(a.streams.In, 1024)).ReadString('\n')
	if err == nil {
		switch strings.ToLower(strings.TrimSpace(line)) {
		case "y", "yes":
			return nil
		}
	}
	return &cli.Error{Code: "declined", What: "nothing was done", Exit: cli.ExitNo}
}
