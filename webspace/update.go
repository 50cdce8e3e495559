package webspace

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// attempts at an edit that others keep overtaking, before ErrConflict.
const attempts = 50

// Update changes the record of one webspace: change gets the current record and edits it; what it leaves is checked
// and written, unless the instance was changed in between, in which case everything is done again. An error of change
// ends it, nothing written. A record that came from the seed's key is written to ours; the old key stays as it was.
//
// change may run several times and must not have other effects.
func (s *Store) Update(ctx context.Context, name string, change func(*Record) error) error {
	return s.edit(ctx, name, func(i *Instance) (patch, error) {
		if i.RecordErr != nil {
			return patch{}, i.RecordErr
		}
		r := i.Record.Clone()
		if err := change(&r); err != nil {
			return patch{}, err
		}
		text, err := Encode(r)
		if err != nil {
			return patch{}, err
		}
		return patch{Config: map[string]string{Key: text}}, nil
	})
}

// patch is what a PATCH of an instance may carry: keys and devices that are not named stay as they are.
type patch struct {
	Config  map[string]string            `json:"config,omitempty"`
	Devices map[string]map[string]string `json:"devices,omitempty"`
}

// edit reads, changes and writes under LXD's ETag. LXD holds its own lock from checking the tag until the change is
// in its database, so two edits can never both succeed from the same reading.
func (s *Store) edit(ctx context.Context, name string, change func(*Instance) (patch, error)) error {
	path, err := s.path(name)
	if err != nil {
		return err
	}
	unlock := s.edits.lock(name)
	defer unlock()
	for n := 0; ; n++ {
		i, etag, err := s.find(ctx, name)
		if err != nil {
			return err
		}
		p, err := change(&i)
		if err != nil {
			return err
		}
		_, _, err = s.request(ctx, userAgent, "change webspace "+name, "PATCH", path, nil, p, etag)
		if err == nil || !errors.Is(err, ErrConflict) || n+1 >= attempts {
			return err
		}
		// Starting and stopping change the tag too. Wait a little, and each a different little.
		select {
		case <-time.After(time.Duration(10+rand.IntN(20<<min(n, 4))) * time.Millisecond):
		case <-ctx.Done():
			return s.failed("change webspace "+name, ctx.Err())
		}
	}
}
