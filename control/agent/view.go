package agent

import (
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lanyard-project/lanyard/webspace"
)

// localTimeout bounds LXD's answer about its own instances. It needs milliseconds; a hung daemon is noticed by this.
const localTimeout = 5 * time.Second

// known is what the agent last heard from each source. It is copied, never changed in place.
type known struct {
	server   webspace.Server
	all      []webspace.Instance // of the cluster, this node's included
	members  []webspace.Member
	haveAll  bool // server, all and members have been read at least once
	local    []webspace.Instance
	haveOurs bool
}

// self is this node's name as instances and members name it.
func (k known) self() string {
	if !k.server.Clustered {
		return ""
	}
	return k.server.Name
}

// leader says whether this node may do what only one in the cluster may.
func (k known) leader() bool {
	if !k.server.Clustered {
		return k.server.Name != ""
	}
	for _, m := range k.members {
		if m.Name == k.server.Name {
			return m.Leader
		}
	}
	return false
}

// instances puts both lists together: LXD's answer about this node decides what is on this node, the other list
// what is elsewhere. An instance that is in both is moving, and this node knows best whether it is here.
func (k known) instances() []webspace.Instance {
	self := k.self()
	here := make(map[string]bool)
	var out []webspace.Instance
	for _, i := range k.local {
		if i.Node == self {
			here[i.Name] = true
			out = append(out, i)
		}
	}
	for _, i := range k.all {
		if i.Node != self && !here[i.Name] {
			out = append(out, i)
		}
	}
	return out
}

// partial says whether a member did not answer, so that what it has is only remembered or unknown.
func (k known) partial() bool {
	return slices.ContainsFunc(k.members, func(m webspace.Member) bool { return !m.Online }) ||
		slices.ContainsFunc(k.all, func(i webspace.Instance) bool { return i.Status == webspace.Errored })
}

// readCluster asks for what is slow: the whole cluster.
func (a *Agent) readCluster(ctx context.Context, old known) (known, error) {
	k := old
	server, err := a.src.Server(ctx)
	if err != nil {
		return old, err
	}
	k.server = server
	if !server.Clustered {
		k.all, k.members, k.haveAll = nil, nil, true
		return k, nil
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		all, err := a.src.List(ctx)
		if err == nil {
			k.all = remember(all, old.all)
		}
		return err
	})
	g.Go(func() error {
		members, err := a.src.Members(ctx)
		if err == nil {
			k.members = members
		}
		return err
	})
	if err := g.Wait(); err != nil {
		return old, err
	}
	k.haveAll = true
	return k, nil
}

// readLocal asks for what is quick: the instances of this node.
func (a *Agent) readLocal(ctx context.Context) ([]webspace.Instance, error) {
	ctx, cancel := context.WithTimeout(ctx, localTimeout)
	defer cancel()
	return a.src.ListLocal(ctx)
}

// remember fills in what LXD cannot say about the instances of a member that does not answer: what was last known.
// Its containers may well run on, and its dataplane with them.
func remember(now, before []webspace.Instance) []webspace.Instance {
	last := make(map[string]webspace.Instance, len(before))
	for _, i := range before {
		last[i.Name] = i
	}
	for n, i := range now {
		if old, ok := last[i.Name]; ok && old.RecordErr == nil && errors.Is(i.RecordErr, webspace.ErrUnavailable) {
			old.Node, old.Status = i.Node, i.Status
			now[n] = old
		}
	}
	return now
}
