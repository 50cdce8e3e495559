package admin

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyard-project/lanyard/control/cli"
	"github.com/lanyard-project/lanyard/control/node/nodeapi"
)

// shortTable is how many rows of a table are shown without --all.
const shortTable = 20

// waitInterval is how often --wait asks.
const waitInterval = 500 * time.Millisecond

func statusCommand(o *options) *cobra.Command {
	var (
		wait    bool
		timeout time.Duration
		all     bool
	)
	cmd := &cobra.Command{
		Use:   "status [SECTION...]",
		Short: "Show what the node is and knows",
		Long: "Show what the node is and knows: itself, its programs with attach point and version, the fill of its maps,\n" +
			"peers, ports, endpoints, forwards, drops, and problems. Sections narrow it down.\n\n" +
			"Sections: " + strings.Join(sectionNames(), ", ") + ".",
		Example: "  lanyard status\n  lanyard status forwards --all\n  lanyard status --wait --timeout 2m\n  lanyard status --json | jq .readiness",
		Args: func(_ *cobra.Command, args []string) error {
			for _, a := range args {
				if !slices.Contains(sectionNames(), a) {
					return fmt.Errorf("there is no section %q; there are: %s", a, strings.Join(sectionNames(), ", "))
				}
			}
			return nil
		},
		ValidArgs: sectionNames(),
		RunE: func(cmd *cobra.Command, args []string) error {
			c := o.client()
			defer c.Close()
			var s nodeapi.Status
			var err error
			if wait {
				s, err = waitReady(cmd.Context(), o.streams, c, timeout)
			} else {
				s, err = c.Status(cmd.Context())
			}
			if err != nil {
				return err
			}
			if o.json {
				err = o.print(s)
			} else {
				limit := shortTable
				if all {
					limit = 0
				}
				renderStatus(o.streams, s, args, limit)
			}
			if err == nil && !s.Readiness.Ready {
				return errNo
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until the node is ready")
	cmd.Flags().DurationVar(&timeout, "timeout", time.Minute, "how long to wait at most")
	cmd.Flags().BoolVarP(&all, "all", "a", false, fmt.Sprintf("show every row, not the first %d of each table", shortTable))
	return cmd
}

// waitReady asks until the node is ready or the time is over; then the last status or error is the answer. A daemon
// that is not there yet is waited for as well.
func waitReady(ctx context.Context, s cli.Streams, c *nodeapi.Client, limit time.Duration) (nodeapi.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(waitInterval)
	defer tick.Stop()
	p := cli.Progress{Streams: s}
	defer p.End()
	for {
		status, err := c.Status(ctx)
		if err == nil && status.Readiness.Ready || nodeapi.HasCode(err, nodeapi.CodeDenied) {
			return status, err
		}
		if err != nil {
			p.Show("waiting for lanyardd at " + c.Socket())
		} else {
			p.Show("waiting for the node: " + notReady(status.Readiness))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return status, err
		}
	}
}

// notReady names the required checks that fail.
func notReady(r nodeapi.Readiness) string {
	var names []string
	for _, c := range r.Checks {
		if c.Required && !c.OK {
			names = append(names, c.Name+" ("+c.Detail+")")
		}
	}
	return strings.Join(names, ", ")
}
