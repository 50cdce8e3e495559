package webspace

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
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
		return patch{Config: map[string]string{Key: text}, record: &r}, nil
	})
}

// patch is what a PATCH of an instance may carry: keys and devices that are not named stay as they are.
type patch struct {
	Config  map[string]string            `json:"config,omitempty"`
	Devices map[string]map[string]string `json:"devices,omitempty"`

	record *Record // that is in Config, too
}

// edit is one change of an instance that is to be written, and its result.
type edit struct {
	change func(*Instance) (patch, error)
	done   chan error // of capacity 1
}

// edits are the changes that wait, by instance. Those that come while others are being written are written together by
// the next request: fifty at once cost LXD two requests and not fifty, which would overtake each other's ETags.
type edits struct {
	mu      sync.Mutex
	waiting map[string][]*edit // an entry, if only an empty one, while a writer is at work
}

// edit reads, changes and writes under LXD's ETag. LXD holds its own lock from checking the tag until the change is
// in its database, so two edits can never both succeed from the same reading. When ctx ends before the change is taken
// up, it is not made; after that its result is awaited, which the time limit of requests bounds.
func (s *Store) edit(ctx context.Context, name string, change func(*Instance) (patch, error)) error {
	path, err := s.path(name)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return s.failed("change webspace "+name, err)
	}
	e := &edit{change: change, done: make(chan error, 1)}
	s.edits.mu.Lock()
	if s.edits.waiting == nil {
		s.edits.waiting = make(map[string][]*edit)
	}
	_, busy := s.edits.waiting[name]
	s.edits.waiting[name] = append(s.edits.waiting[name], e)
	s.edits.mu.Unlock()
	if !busy {
		go s.write(context.WithoutCancel(ctx), name, path) // ends when nothing waits any more
	}
	select {
	case err := <-e.done:
		return err
	case <-ctx.Done():
	}
	s.edits.mu.Lock()
	before := len(s.edits.waiting[name])
	s.edits.waiting[name] = slices.DeleteFunc(s.edits.waiting[name], func(o *edit) bool { return o == e })
	withdrawn := len(s.edits.waiting[name]) < before
	s.edits.mu.Unlock()
	if withdrawn {
		return s.failed("change webspace "+name, ctx.Err())
	}
	return <-e.done
}

// write writes what waits for an instance until nothing does.
func (s *Store) write(ctx context.Context, name, path string) {
	for {
		s.edits.mu.Lock()
		batch := s.edits.waiting[name]
		if len(batch) == 0 {
			delete(s.edits.waiting, name)
			s.edits.mu.Unlock()
			return
		}
		s.edits.waiting[name] = []*edit{}
		s.edits.mu.Unlock()
		s.writeBatch(ctx, name, path, batch)
	}
}

// writeBatch makes all changes of a batch in one request, and tells each its result.
func (s *Store) writeBatch(ctx context.Context, name, path string, batch []*edit) {
	for n := 0; ; n++ {
		i, etag, err := s.find(ctx, name)
		results := make([]error, len(batch))
		var all patch
		if err == nil {
			for k, e := range batch {
				results[k] = all.add(&i, e.change)
			}
		}
		if err == nil && !all.empty() {
			_, _, err = s.request(ctx, userAgent, "change webspace "+name, "PATCH", path, nil, all, etag)
		}
		if err == nil || !errors.Is(err, ErrConflict) || n+1 >= attempts {
			for k, e := range batch {
				e.done <- cmp.Or(results[k], err)
			}
			return
		}
		// Starting and stopping change the tag too. Wait a little, and each a different little.
		time.Sleep(time.Duration(10+rand.IntN(20<<min(n, 4))) * time.Millisecond)
	}
}

// add makes one change, so that the next in the batch sees it. A change that fails leaves nothing.
func (p *patch) add(i *Instance, change func(*Instance) (patch, error)) error {
	n, err := change(i)
	if err != nil {
		return err
	}
	if n.record != nil {
		i.Record, i.RecordErr, i.Imported = *n.record, nil, false
	}
	for k, v := range n.Config {
		if p.Config == nil {
			p.Config = make(map[string]string)
		}
		p.Config[k] = v
	}
	for k, v := range n.Devices {
		if p.Devices == nil {
			p.Devices = make(map[string]map[string]string)
		}
		p.Devices[k] = v
	}
	return nil
}

func (p patch) empty() bool { return len(p.Config) == 0 && len(p.Devices) == 0 }
