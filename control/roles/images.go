package roles

import (
	"context"

	"github.com/lanyard-project/lanyard/control/images"
)

// runImages is the role images.
func runImages(ctx context.Context, m *Machine, ready func()) error {
	return images.Run(ctx, m.Config.Images, m.Version, m.Log, func(images.Addresses) { ready() })
}
