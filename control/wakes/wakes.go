// Package wakes answers the API's questions about waking and sleeping, by asking the node daemon that has the webspace: the one
// of this machine over its admin socket (the two may be one process, or two), another node of the cluster over the underlay.
//
// What a node remembers stays on it: of a webspace that was moved, the history before is not shown.
package wakes

import (
	"context"
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lanyard-project/lanyard/control/api"
	"github.com/lanyard-project/lanyard/control/api/wire"
	"github.com/lanyard-project/lanyard/control/node/nodeapi"
	"github.com/lanyard-project/lanyard/control/node/peering"
	"github.com/lanyard-project/lanyard/webspace"
)

// patience is how long a node may take for one answer. It may have to ask its LXD.
const patience = 5 * time.Second

// atOnce bounds how many nodes are asked at a time.
const atOnce = 8

// Node is the node daemon; *nodeapi.Client is one.
type Node interface {
	Wakes(ctx context.Context, webspace string, before uint64, limit int) (nodeapi.WakePage, error)
	Awake(ctx context.Context, webspace string) (nodeapi.AwakeList, error)
	Woken(ctx context.Context) (nodeapi.Woken, error)
}

// Cluster knows the other nodes; *webspace.Store does.
type Cluster interface {
	Members(context.Context) ([]webspace.Member, error)
}

// Options of a Provider.
type Options struct {
	Here Node   // of this machine
	Name string // this machine's, as LXD names it
	// Cluster and There are for webspaces that are elsewhere. There asks the node with that tunnel address; nil: it cannot be done.
	Cluster Cluster
	There   func(vtep netip.Addr) Node
}

// Provider is an api.Wakes.
type Provider struct{ o Options }

var _ api.Wakes = (*Provider)(nil)

// New makes a Provider.
func New(o Options) *Provider { return &Provider{o} }

// node is who knows about a webspace.
func (p *Provider) node(ctx context.Context, what string, of webspace.Instance) (Node, string, error) {
	if of.Node == "" || of.Node == p.o.Name {
		return p.o.Here, p.o.Name, nil
	}
	if p.o.There == nil {
		return nil, "", elsewhere(what, of.Node, "peers.port is 0", "set it, the same on every node")
	}
	members, err := p.o.Cluster.Members(ctx)
	if err != nil {
		return nil, "", err
	}
	for _, m := range members {
		switch {
		case m.Name != of.Node:
		case m.NodeErr != nil:
			return nil, "", &webspace.Problem{What: "could not " + what, Cause: m.NodeErr.Error(), Next: "start its lanyardd", Kind: api.ErrNode, Err: m.NodeErr}
		default:
			return p.o.There(m.Node.VTEP), m.Name, nil
		}
	}
	return nil, "", &webspace.Problem{What: "could not " + what, Cause: "the cluster has no member " + of.Node, Next: "see: lxc cluster list", Kind: api.ErrNode}
}

// Wakes is api.Wakes's. A cursor is the number of the last record before.
func (p *Provider) Wakes(ctx context.Context, of webspace.Instance, cursor string, limit int) (wire.WakePage, error) {
	const what = "read when it woke"
	out := wire.WakePage{Wakes: []wire.WakeRecord{}}
	var before uint64
	if cursor != "" {
		var err error
		if before, err = strconv.ParseUint(cursor, 10, 63); err != nil || before == 0 {
			return out, api.ErrCursor
		}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	node, name, err := p.node(ctx, what, of)
	if err != nil {
		return out, err
	}
	page, err := node.Wakes(ctx, strconv.Itoa(of.UID), before, limit)
	if err != nil {
		return out, failed(what, of, err)
	}
	for _, w := range page.Wakes {
		out.Wakes = append(out.Wakes, record(w, name))
	}
	if page.Next > 0 {
		out.Next = new(strconv.FormatUint(page.Next, 10))
	}
	return out, nil
}

// Counts is api.Wakes's. One that was moved was woken on more than one node.
func (p *Provider) Counts(ctx context.Context) map[int]int64 {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var mu sync.Mutex
	out := make(map[int]int64)
	var g errgroup.Group
	g.SetLimit(atOnce)
	ask := func(n Node) {
		g.Go(func() error {
			if w, err := n.Woken(ctx); err == nil {
				mu.Lock()
				defer mu.Unlock()
				for uid, n := range w.Woken {
					out[uid] += int64(n)
				}
			}
			return nil
		})
	}
	ask(p.o.Here)
	if p.o.There != nil {
		members, _ := p.o.Cluster.Members(ctx) // none: what is here is all that can be said
		for _, m := range members {
			if m.Name != p.o.Name && m.NodeErr == nil && m.Online {
				ask(p.o.There(m.Node.VTEP))
			}
		}
	}
	_ = g.Wait()
	return out
}

func record(w nodeapi.Wake, node string) wire.WakeRecord {
	r := wire.WakeRecord{Time: w.Time, Kind: w.Kind, Cause: w.Via, Outcome: w.Outcome, Error: text(w.Error), Protocol: text(w.Proto), Node: text(node)}
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
func (p *Provider) WhyAwake(ctx context.Context, of webspace.Instance) (wire.WhyAwake, error) {
	const what = "find what keeps it awake"
	out := wire.WhyAwake{Reasons: []wire.AwakeReason{}}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	node, _, err := p.node(ctx, what, of)
	if err != nil {
		return out, err
	}
	list, err := node.Awake(ctx, strconv.Itoa(of.UID))
	if err != nil {
		return out, failed(what, of, err)
	}
	if len(list.Webspaces) != 1 {
		return out, &webspace.Problem{What: "could not " + what, Cause: "the node's answer is not about one webspace",
			Next: "compare versions: lanyardd version", Kind: api.ErrNode}
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

// failed gives an error of a node its kind for the API.
func failed(what string, of webspace.Instance, err error) error {
	var e *nodeapi.Error
	if !errors.As(err, &e) {
		return err
	}
	if errors.Is(err, peering.ErrNone) {
		return elsewhere(what, of.Node, "this machine has no cluster.key of its LXD", "run the API on a member of the cluster")
	}
	return &webspace.Problem{What: "could not " + what, Cause: e.What + ": " + e.Cause, Next: e.Next, Kind: api.ErrNode, Err: err}
}

// elsewhere is the error about a node that can never be asked.
func elsewhere(what, node, cause, next string) error {
	return &webspace.Problem{What: "could not " + what, Cause: "it is on " + node + ", which cannot be asked: " + cause, Next: next, Kind: api.ErrElsewhere}
}
