package admin

import (
	"strconv"
	"time"

	"github.com/lanyard-project/lanyard/control/cli"
	"github.com/lanyard-project/lanyard/control/node/nodeapi"
)

// showWebspaces shows how this node's webspaces are: awake or asleep, since when, and what is under way.
func showWebspaces(s cli.Streams, st nodeapi.Status, limit int) {
	title(s, "webspaces", len(st.Wake.Webspaces))
	if len(st.Wake.Webspaces) == 0 {
		return
	}
	t := cli.Table{Indent: "  ", Head: []string{"WEBSPACE", "ADDRESS", "STATE", "FOR", "NOW", "WAITING"}}
	for _, w := range st.Wake.Webspaces {
		state := cli.Text(w.Life)
		if w.Life != "awake" {
			state.Style = cli.Dim
		}
		doing := dash(w.Doing)
		if w.Error != "" && w.Doing == "" {
			doing = "its last start failed"
		}
		t.Row(cli.Text(w.Webspace), cli.Text(w.IP.String()), state, cli.Text(st.Time.Sub(w.Since).Round(time.Second).String()), cli.Text(doing),
			cli.Cell{Text: strconv.Itoa(w.Held), Right: true})
	}
	t.PrintSome(s, limit, more("webspaces"))
}
