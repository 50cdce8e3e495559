package member

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyard-project/lanyard/control/api/client"
	"github.com/lanyard-project/lanyard/control/api/wire"
	"github.com/lanyard-project/lanyard/control/cli"
)

// The server writes something at least every 15 s; a stream that is silent for longer than silence is gone.
const (
	silence   = 60 * time.Second
	reconnect = 2 * time.Second
)

func (a *app) watch() *cobra.Command {
	var once bool
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Follow what happens to it",
		Long: `Print a line for every change of the webspace, beginning with how it is now, until interrupted. With --json each line is one object.
A connection that breaks is made again.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := a.follow(cmd.Context(), asJSON(cmd), once)
			if cmd.Context().Err() != nil { // that is how it ends
				return nil
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&once, "once", false, "end when the connection breaks")
	return cmd
}

func (a *app) follow(ctx context.Context, asJSON, once bool) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	for last := ""; ; {
		err := a.stream(ctx, c, func(e wire.Event) error {
			line, err := a.eventLine(e, asJSON)
			if err == nil && line != last { // the same comes again after a reconnection
				_, err = fmt.Fprintln(a.streams.Out, a.stamp(e, asJSON)+line)
			}
			last = line
			return err
		})
		if err != nil || once {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(reconnect):
		}
	}
}

// stream calls each for every event of one connection, until that ends (nil) or each fails.
func (a *app) stream(ctx context.Context, c *client.ClientWithResponses, each func(wire.Event) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	resp, err := c.Watch(ctx, a.target(), wantEvents)
	if err != nil || resp.StatusCode != http.StatusOK {
		return answer(resp, err, nil)
	}
	defer resp.Body.Close()
	alarm := time.AfterFunc(silence, cancel)
	defer alarm.Stop()
	var failed error
	_ = events(&watched{resp.Body, func() { alarm.Reset(silence) }}, func(name string, data []byte) error { // a broken stream is made again
		if name == "error" { // it may not be watched any more
			failed = eventFailure(data)
			return failed
		}
		var e wire.Event
		if json.Unmarshal(data, &e) == nil { // else it is an event of a newer server
			failed = each(e)
		}
		return failed
	})
	return failed
}

// watched tells of each piece that is read.
type watched struct {
	io.Reader
	heard func()
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.Reader.Read(b)
	if n > 0 {
		w.heard()
	}
	return n, err
}

func (a *app) stamp(e wire.Event, asJSON bool) string {
	if asJSON {
		return ""
	}
	return e.Time.Local().Format(time.TimeOnly) + "  "
}

func (a *app) eventLine(e wire.Event, asJSON bool) (string, error) {
	if asJSON {
		b, err := json.Marshal(e)
		return string(b), err
	}
	if !e.Exists {
		return "there is no webspace", nil
	}
	w := value(e.Webspace)
	return cli.Printable(fmt.Sprintf("%s, %s, %s", value(e.Status), cli.Count(len(value(w.Domains)), "domain", "domains"),
		cli.Count(len(value(w.Ports))+len(value(w.UDPPorts)), "port", "ports"))), nil
}
