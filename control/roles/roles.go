package roles

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/lanyard-project/lanyard/control/node/config"
	"github.com/lanyard-project/lanyard/control/offers"
)

// Role is one thing that a machine does.
type Role string

// The roles.
const (
	Node    Role = "node"
	Control Role = "control"
	Images  Role = "images"
)

// Default is what a machine does that is told nothing: all that a single machine needs.
var Default = []Role{Node, Control}

// Machine is what the roles of one process share.
type Machine struct {
	Config  config.Config
	Version string
	Log     *slog.Logger
	Offers  offers.Offers // of the node, once it is ready
}

// all has how to run each role: until ctx ends, then nil. An error means that the role could not start at all; ready is
// called once it works.
var all = map[Role]func(ctx context.Context, m *Machine, ready func()) error{
	Node:    runNode,
	Control: runControl,
	Images:  runImages,
}

// Parse reads a list of roles, e.g. "node,control".
func Parse(list string) ([]Role, error) {
	var roles []Role
	for _, name := range strings.Split(list, ",") {
		role := Role(strings.TrimSpace(name))
		if all[role] == nil {
			return nil, &config.Error{What: fmt.Sprintf("there is no role %q", name), Cause: "the roles are " + known(),
				Next: "give some of them, for example: lanyardd --role node"}
		}
		if !slices.Contains(roles, role) {
			roles = append(roles, role)
		}
	}
	return roles, nil
}

func known() string { return strings.ReplaceAll(join(slices.Sorted(maps.Keys(all))), ",", ", ") }

func join(roles []Role) string {
	names := make([]string, len(roles))
	for i, role := range roles {
		names[i] = string(role)
	}
	return strings.Join(names, ",")
}

// Run runs roles until ctx ends, or one cannot start. ready is called once all of them work.
func Run(ctx context.Context, m *Machine, roles []Role, ready func()) error {
	g, ctx := errgroup.WithContext(ctx)
	var working sync.WaitGroup
	working.Add(len(roles))
	for _, role := range roles {
		g.Go(func() error {
			return all[role](ctx, m, sync.OnceFunc(working.Done))
		})
	}
	all := make(chan struct{})
	go func() { working.Wait(); close(all) }() // ends with the process when a role never starts
	g.Go(func() error {
		select {
		case <-all:
			ready()
		case <-ctx.Done():
		}
		return nil
	})
	return g.Wait()
}
