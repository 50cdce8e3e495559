package webspace

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/lxc/incus/shared/api"
)

// Members returns the machines of the LXD cluster; none when LXD is not clustered.
func (s *Store) Members(ctx context.Context) ([]Member, error) {
	var cluster api.Cluster
	if _, err := s.get(ctx, "ask whether LXD is clustered", "/1.0/cluster", nil, &cluster); err != nil {
		return nil, err
	}
	if !cluster.Enabled {
		return nil, nil
	}
	var raw []api.ClusterMember
	if _, err := s.get(ctx, "list the cluster's members", "/1.0/cluster/members", url.Values{"recursion": {"1"}}, &raw); err != nil {
		return nil, err
	}
	members := make([]Member, len(raw))
	for n := range raw {
		members[n] = member(&raw[n])
	}
	return members, nil
}

func member(raw *api.ClusterMember) Member {
	m := Member{
		Name: raw.ServerName, URL: raw.URL, Online: raw.Status == "Online", Message: raw.Message,
		Leader: slices.Contains(raw.Roles, "database-leader"),
	}
	if u, err := url.Parse(raw.URL); err == nil {
		m.Address, _ = netip.ParseAddr(u.Hostname())
		m.Address = m.Address.Unmap()
	}
	m.Node, m.NodeErr = decodeNode(raw.ServerName, raw.Config[Key])
	return m
}

func decodeNode(name, text string) (Node, error) {
	if text == "" {
		return Node{}, &Problem{
			What: "member " + name + " said nothing about itself", Cause: "its lanyardd has not run yet",
			Next: "start it there: systemctl start lanyardd", Kind: ErrNotFound,
		}
	}
	bad := func(cause string) (Node, error) {
		return Node{}, &Problem{
			What: "what member " + name + " says about itself cannot be used", Cause: cause,
			Next: "restart its lanyardd, or look: lxc cluster show " + name, Kind: ErrInvalid,
		}
	}
	var n Node
	if len(text) > MaxRecord {
		return bad("it is too long")
	}
	if err := json.NewDecoder(strings.NewReader(text)).Decode(&n); err != nil {
		return bad(err.Error())
	}
	if n.Index < 1 || n.Index > MaxNode {
		return bad(fmt.Sprintf("index %d is not between 1 and %d", n.Index, MaxNode))
	}
	if !n.VTEP.Is4() || n.VTEP.IsUnspecified() || n.VTEP.IsMulticast() || n.VTEP.IsLoopback() {
		return bad(fmt.Sprintf("%s is not the address of a tunnel", n.VTEP))
	}
	for _, f := range n.Forwards {
		if !f.Is4() || f.IsUnspecified() || f.IsMulticast() || f.IsLoopback() {
			return bad(fmt.Sprintf("%s is not an address to forward from", f))
		}
	}
	return n, nil
}

// MaxNode is the highest node index: 172.24.0.254 is the ingress.
const MaxNode = 253

// Publish tells the other nodes about this one: n is written to the `user.lanyard` key of its cluster member. Each node
// writes only its own. Nothing is written when it is there already, or when LXD is not clustered.
func (s *Store) Publish(ctx context.Context, member string, n Node) error {
	what := "publish this node to the cluster"
	b, err := json.Marshal(n)
	if err != nil {
		return &Problem{What: "could not " + what, Cause: err.Error(), Kind: ErrInvalid, Err: err}
	}
	if _, err := decodeNode(member, string(b)); err != nil {
		return err
	}
	unlock, err := s.members.lock(ctx, "member "+member)
	if err != nil {
		return err
	}
	defer unlock()
	path := "/1.0/cluster/members/" + url.PathEscape(member)
	for try := 0; ; try++ {
		var raw api.ClusterMember
		etag, err := s.get(ctx, what, path, nil, &raw)
		if err != nil {
			return err
		}
		if raw.Config[Key] == string(b) {
			return nil
		}
		put := raw.Writable()
		put.Config = maps.Clone(raw.Config)
		if put.Config == nil {
			put.Config = make(map[string]string)
		}
		put.Config[Key] = string(b)
		_, _, err = s.request(ctx, userAgent, what, "PUT", path, nil, put, etag)
		if err == nil || !errors.Is(err, ErrConflict) || try+1 >= attempts {
			return err
		}
	}
}
