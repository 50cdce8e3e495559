package roles

import (
	"context"

	"github.com/lanyard-project/lanyard/control/node"
)

// runNode is the role node.
func runNode(ctx context.Context, m *Machine, ready func()) error {
	return node.Run(ctx, m.Config, m.Version, m.Log, &m.Offers, ready)
}
