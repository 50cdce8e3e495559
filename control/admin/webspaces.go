package admin

import (
	"strconv"
	"time"

	"github.com/lanyard-project/lanyard/control/node/nodeapi"
)

// showWebspaces shows how this node's webspaces are: awake or asleep, since when, and what is under way.
func showWebspaces(s Streams, st nodeapi.Status, limit int) {
	title(s, "webspaces", len(st.Wake.Webspaces))
	if len(st.Wake.Webspaces) == 0 {
		return
	}
	t := table{head: []string{"WEBSPACE", "ADDRESS", "STATE", "FOR", "NOW", "WAITING"}}
	for _, w := range st.Wake.Webspaces {
		state := text(w.Life)
		if w.Life != "awake" {
			state.style = dim
		}
		doing := dash(w.Doing)
		if w.Error != "" && w.Doing == "" {
			doing = "its last start failed"
		}
		t.row(text(w.Webspace), text(w.IP.String()), state, text(st.Time.Sub(w.Since).Round(time.Second).String()), text(doing),
			cell{text: strconv.Itoa(w.Held), right: true})
	}
	t.print(s, limit, more("webspaces"))
}
