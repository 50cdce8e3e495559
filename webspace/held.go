package webspace

import (
	"context"
	"time"
)

// SetHeld says in LXD that a webspace must not be put to sleep before until, so that the node which has it knows; the zero
// time ends that. See Instance.HeldUntil.
func (s *Store) SetHeld(ctx context.Context, name string, until time.Time) error {
	text := ""
	if !until.IsZero() {
		text = until.UTC().Format(time.RFC3339)
	}
	return s.edit(ctx, name, func(*Instance) (patch, error) {
		return patch{Config: map[string]string{HeldKey: text}}, nil
	})
}
