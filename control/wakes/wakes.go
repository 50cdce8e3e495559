// Package wakes answers the API's questions about waking and sleeping, by asking the node daemon of the same machine over
// its admin socket: the two may be one process, or two.
//
// What a node remembers is on that node. Of a webspace that another node of the cluster holds this machine knows only
// what happened while it was here, and cannot say what keeps it awake: `lanyard awake` on that node does.
package wakes

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/lanyard-project/lanyard/control/api"
	"github.com/lanyard-project/lanyard/control/api/wire"
	"github.com/lanyard-project/lanyard/control/node/nodeapi"
	"github.com/lanyard-project/lanyard/webspace"
)

// Node is the node daemon; *nodeapi.Client is one.
type Node interface {
	Wakes(ctx context.Context, webspace string, before uint64, limit int) (nodeapi.WakePage, error)
	Awake(ctx context.Context, webspace string) (nodeapi.AwakeList, error)
}

// Provider is an api.Wakes.
type Provider struct {
	node Node
	name string
}

var _ api.Wakes = (*Provider)(nil)

// New makes a Provider. name is the node's, for the records.
func New(node Node, name string) *Provider { return &Provider{node, name} }

// Wakes is api.Wakes's. A cursor is the number of the last record before.
func (p *Provider) Wakes(ctx context.Context, uid int, cursor string, limit int) (wire.WakePage, error) {
	out := wire.WakePage{Wakes: []wire.WakeRecord{}}
	var before uint64
	if cursor != "" {
		var err error
		if before, err = strconv.ParseUint(cursor, 10, 63); err != nil || before == 0 {
			return out, api.ErrCursor
		}
	}
	page, err := p.node.Wakes(ctx, strconv.Itoa(uid), before, limit)
	if err != nil {
		return out, failed("read when it woke", err)
	}
	for _, w := range page.Wakes {
		out.Wakes = append(out.Wakes, p.record(w))
	}
	if page.Next > 0 {
		out.Next = new(strconv.FormatUint(page.Next, 10))
	}
	return out, nil
}

// Count is api.Wakes's.
func (p *Provider) Count(ctx context.Context, uid int) (int64, error) {
	page, err := p.node.Wakes(ctx, strconv.Itoa(uid), 0, 1)
	if err != nil {
		return 0, failed("count how often it woke", err)
	}
	return int64(page.Woken), nil
}

func (p *Provider) record(w nodeapi.Wake) wire.WakeRecord {
	r := wire.WakeRecord{Time: w.Time, Kind: w.Kind, Cause: w.Via, Outcome: w.Outcome, Error: text(w.Error), Protocol: text(w.Proto), Node: text(p.name)}
	if r.Outcome == "done" {
		r.Outcome = "ok"
	}
	if a := w.Peer.Addr(); a.IsValid() {
		r.Peer = new(a.String())
	}
	if w.Port > 0 {
		r.Port = new(int32(w.Port))
	}
	if port := w.External.Port(); port > 0 {
		r.Forward = new(int32(port))
	}
	if len(w.After) > 0 {
		steps := make(map[string]float64, len(w.After))
		for name, after := range w.After {
			if name == "decided" {
				name = "decision"
			}
			steps[name] = after.Seconds()
		}
		r.Latency = &steps
	}
	return r
}

// WhyAwake is api.Wakes's.
func (p *Provider) WhyAwake(ctx context.Context, uid int) (wire.WhyAwake, error) {
	out := wire.WhyAwake{Reasons: []wire.AwakeReason{}}
	list, err := p.node.Awake(ctx, strconv.Itoa(uid))
	if err != nil {
		return out, failed("find what keeps it awake", err)
	}
	if len(list.Webspaces) != 1 {
		return out, &webspace.Problem{What: "could not find what keeps it awake", Cause: "the node's answer is not about one webspace",
			Next: "compare versions: lanyardd version", Kind: webspace.ErrUnavailable}
	}
	w := list.Webspaces[0]
	out.Status = status(webspace.Status(w.Status))
	out.NapAt, out.SleepAt = moment(w.NapAt), moment(w.SleepAt)
	if out.Status == wire.StatusAwake {
		out.Since = moment(w.LastUse)
	}
	for _, r := range w.Reasons {
		out.Reasons = append(out.Reasons, wire.AwakeReason{Kind: kind(r), Detail: r.What, Until: moment(r.Until)})
	}
	return out, nil
}

// kind is a reason's name in the API, which tells members rather what they do than where it was seen.
func kind(r nodeapi.AwakeReason) string {
	what := strings.ToLower(r.What)
	switch {
	case r.Kind == "use":
		return "recent"
	case r.Kind == "operation" && strings.Contains(what, "command"):
		return "exec"
	case r.Kind == "operation" && strings.Contains(what, "console"):
		return "console"
	case r.Kind == "session" && (what == "exec" || what == "console" || what == "files"):
		return what
	}
	return r.Kind
}

func status(s webspace.Status) wire.Status {
	switch s {
	case webspace.Running:
		return wire.StatusAwake
	case webspace.Frozen:
		return wire.StatusNapping
	case webspace.Stopped:
		return wire.StatusAsleep
	case webspace.Errored:
		return wire.StatusUnknown
	}
	return wire.StatusChanging
}

func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// failed gives an error its kind for the API.
func failed(what string, err error) error {
	var e *nodeapi.Error
	if !errors.As(err, &e) {
		return err
	}
	p := &webspace.Problem{What: "could not " + what, Cause: e.What, Next: e.Next, Kind: webspace.ErrUnavailable, Err: err}
	if e.Code == nodeapi.CodeNotFound {
		p.Kind, p.Cause = api.ErrElsewhere, "another node has the webspace, and only that one knows"
	}
	return p
}
