package webspace

import (
	"context"
	"errors"
	"time"

	"github.com/lxc/incus/shared/api"
)

// Start starts a webspace and waits until LXD has started it; its services may need longer.
func (s *Store) Start(ctx context.Context, name string) error {
	return s.setState(ctx, "start", name, api.InstanceStatePut{Action: "start", Timeout: -1})
}

// Freeze halts all processes of a webspace where they are; its status is then Frozen.
func (s *Store) Freeze(ctx context.Context, name string) error {
	return s.setState(ctx, "freeze", name, api.InstanceStatePut{Action: "freeze", Timeout: -1})
}

// Unfreeze lets them go on.
func (s *Store) Unfreeze(ctx context.Context, name string) error {
	return s.setState(ctx, "unfreeze", name, api.InstanceStatePut{Action: "unfreeze", Timeout: -1})
}

// ask asks a webspace to shut down, and waits for it at most for grace (at least 1 s).
func (s *Store) ask(ctx context.Context, name string, grace time.Duration) error {
	return s.setState(ctx, "stop", name, api.InstanceStatePut{Action: "stop", Timeout: max(1, int(grace/time.Second))})
}

// Stop asks a webspace to shut down, and after grace (at least 1 s) stops it without asking. grace 0 does not ask.
func (s *Store) Stop(ctx context.Context, name string, grace time.Duration) error {
	if grace > 0 {
		err := s.ask(ctx, name, grace)
		if err == nil || ctx.Err() != nil || errors.Is(err, ErrNotFound) || errors.Is(err, ErrUnavailable) {
			return err
		}
		if i, look := s.Get(ctx, name); look == nil && i.Status == Stopped {
			return nil
		}
	}
	return s.setState(ctx, "stop", name, api.InstanceStatePut{Action: "stop", Force: true, Timeout: -1})
}

func (s *Store) setState(ctx context.Context, what, name string, put api.InstanceStatePut) error {
	path, err := s.path(name)
	if err != nil {
		return err
	}
	_, err = s.operate(ctx, what+" webspace "+name, "PUT", path+"/state", nil, put, "")
	return err
}

// Delete removes a webspace with all its data, running or not.
func (s *Store) Delete(ctx context.Context, name string) error {
	path, err := s.path(name)
	if err != nil {
		return err
	}
	i, err := s.Get(ctx, name)
	if err != nil {
		return err
	}
	if i.Active() {
		if err := s.Stop(ctx, name, 0); err != nil {
			if now, look := s.Get(ctx, name); look != nil || now.Active() {
				return err
			}
		}
	}
	_, err = s.operate(ctx, "delete webspace "+name, "DELETE", path, nil, nil, "")
	return err
}
