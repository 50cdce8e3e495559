package node

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lanyard-project/lanyard/control/ledger"
	"github.com/lanyard-project/lanyard/control/node/nodeapi"
	"github.com/lanyard-project/lanyard/control/sleep"
)

// What the servers need of the ledger and of the keeper.
type (
	history interface {
		All(before uint64, limit int) (ledger.Page, error)
		Of(uid int, before uint64, limit int) (ledger.Page, error)
		Woken(uid int) (uint64, error)
		AllWoken() (map[int]uint64, error)
		Sums() ledger.Sums
	}
	keeper interface {
		All(context.Context) ([]sleep.Answer, error)
		Stats() sleep.Stats
	}
)

// everybody is the uid that stands for all webspaces.
const everybody = -1

// asked reads which webspace a request is about: a name, or a uid in digits.
func (n *Node) asked(r *http.Request) (uid int, err error) {
	text := r.URL.Query().Get("webspace")
	if text == "" {
		return everybody, nil
	}
	digits := strings.TrimPrefix(text, n.config.LXD.Prefix+"u")
	uid, err = strconv.Atoi(digits)
	if err != nil || uid < 0 || strconv.Itoa(uid) != digits {
		return 0, fmt.Errorf("%.40q is neither a name such as %su3 nor a uid", text, n.config.LXD.Prefix)
	}
	return uid, nil
}

func refuseQuery(w http.ResponseWriter, err error) {
	refuse(w, http.StatusBadRequest, nodeapi.Error{Code: nodeapi.CodeBadRequest, What: "the question makes no sense", Cause: err.Error(),
		Next: "see docs/reference/admin-api.md"})
}

// wakes answers with a page of the ledger.
func (n *Node) wakes(w http.ResponseWriter, r *http.Request) {
	if n.ledger == nil {
		refuseForgetful(w)
		return
	}
	uid, err := n.asked(r)
	var before, limit uint64
	for name, into := range map[string]*uint64{"before": &before, "limit": &limit} {
		if text := r.URL.Query().Get(name); text != "" && err == nil {
			*into, err = strconv.ParseUint(text, 10, 63)
		}
	}
	if err != nil {
		refuseQuery(w, err)
		return
	}
	var out nodeapi.WakePage
	var p ledger.Page
	if most := int(min(limit, ledger.MaxPage)); uid == everybody {
		p, err = n.ledger.All(before, most)
	} else if p, err = n.ledger.Of(uid, before, most); err == nil {
		out.Woken, err = n.ledger.Woken(uid)
	}
	if err != nil {
		refuseLedger(w, err)
		return
	}
	out.Next, out.Wakes = p.Next, convert(p.Records, wakeOf)
	answer(w, out)
}

func refuseForgetful(w http.ResponseWriter) {
	refuse(w, http.StatusServiceUnavailable, nodeapi.Error{Code: nodeapi.CodeStarting, What: "this node remembers no wakes",
		Cause: "wake.enabled is off", Next: "turn it on, and restart lanyardd"})
}

func refuseLedger(w http.ResponseWriter, err error) {
	refuse(w, http.StatusServiceUnavailable, nodeapi.Error{Code: nodeapi.CodeStarting, What: "the wakes cannot be read now",
		Cause: err.Error(), Next: "look at the disk that ledger.file is on; journalctl -u lanyardd-node"})
}

// woken answers with how often each webspace was woken.
func (n *Node) woken(w http.ResponseWriter, _ *http.Request) {
	if n.ledger == nil {
		refuseForgetful(w)
		return
	}
	counts, err := n.ledger.AllWoken()
	if err != nil {
		refuseLedger(w, err)
		return
	}
	answer(w, nodeapi.Woken{Woken: counts})
}

func wakeOf(r ledger.Record) nodeapi.Wake {
	out := nodeapi.Wake{ID: r.ID, Time: r.Time, UID: r.UID, Webspace: r.Instance, Kind: string(r.Kind), Via: string(r.Cause.Via),
		Peer: r.Cause.Peer, Proto: r.Cause.Proto, Port: r.Cause.Port, External: r.Cause.External, Detail: r.Cause.Detail,
		Outcome: string(r.Outcome), Error: r.Error, Took: r.Took, Held: r.Held, Dropped: r.Dropped}
	for _, s := range r.Split.Steps() {
		if s.After > 0 {
			if out.After == nil {
				out.After = make(map[string]time.Duration)
			}
			out.After[s.Name] = s.After
		}
	}
	return out
}

// awake answers with what keeps webspaces awake.
func (n *Node) awake(w http.ResponseWriter, r *http.Request) {
	if n.keeper == nil {
		refuse(w, http.StatusServiceUnavailable, nodeapi.Error{Code: nodeapi.CodeStarting, What: "nobody is put to sleep on this node",
			Cause: "sleep.enabled is off", Next: "turn it on, and restart lanyardd"})
		return
	}
	uid, err := n.asked(r)
	if err != nil {
		refuseQuery(w, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), nodeapi.CallTimeout-time.Second)
	defer cancel()
	list, err := n.keeper.All(ctx)
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, nodeapi.Error{Code: nodeapi.CodeStarting, What: "cannot see who is awake now",
			Cause: err.Error(), Next: "try again; look: lanyard status"})
		return
	}
	if uid != everybody {
		list = slices.DeleteFunc(list, func(a sleep.Answer) bool { return a.UID != uid })
		if len(list) == 0 {
			refuse(w, http.StatusNotFound, nodeapi.Error{Code: nodeapi.CodeNotFound, What: "that webspace is not on this node",
				Cause: "it is on another, or does not exist", Next: "see where it is: lxc list"})
			return
		}
	}
	answer(w, nodeapi.AwakeList{Webspaces: convert(list, awakeState)})
}

func awakeState(a sleep.Answer) nodeapi.AwakeState {
	nap, asleep := a.Due()
	return nodeapi.AwakeState{UID: a.UID, Webspace: a.Name, Status: string(a.Status), LastUse: a.LastUse(), NapAfter: a.NapAfter,
		SleepAfter: a.SleepAfter, OOMSkip: a.OOMSkip, NapAt: nap, SleepAt: asleep,
		Reasons: convert(a.Reasons, func(r sleep.Reason) nodeapi.AwakeReason {
			return nodeapi.AwakeReason{Kind: string(r.Kind), What: r.What, Since: r.Since, Until: r.Until, Local: r.Flow.Local,
				Remote: r.Flow.Remote, Passive: r.Flow.Passive}
		})}
}
