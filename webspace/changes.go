package webspace

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"
)

// Change is what Watch tells: the newest state of a webspace that is not as it was.
type Change struct {
	Time     time.Time // when it was seen
	UID      int
	Deleted  bool     // it is gone; Instance is what it was last
	Instance Instance // as it is now
}

// Everyone is the uid for Watch that stands for all webspaces.
const Everyone = -1

// ErrClosed is what Next returns after Close.
var ErrClosed = errors.New("the subscription is closed")

// view is what was seen last, and who wants to hear of changes.
type view struct {
	mu   sync.Mutex
	at   time.Time // zero: nothing was seen yet
	list []Instance
	by   map[int]Instance
	subs map[*Subscription]bool
}

func sortByUID(list []Instance) {
	slices.SortFunc(list, func(a, b Instance) int { return cmp.Compare(a.UID, b.UID) })
}

// show takes a list, by uid, that was asked for at a time, and tells what is different.
func (v *view) show(list []Instance, at time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if at.Before(v.at) {
		return
	}
	now, by := time.Now(), make(map[int]Instance, len(list))
	for k, i := range list {
		if i.Status == Errored { // only its name is known; what was known before is more use
			if last, ok := v.by[i.UID]; ok && last.RecordErr == nil {
				last.Status = Errored
				list[k], i = last, last
			}
		}
		by[i.UID] = i
		if last, ok := v.by[i.UID]; !ok || !reflect.DeepEqual(last, i) {
			v.tell(Change{Time: now, UID: i.UID, Instance: i})
		}
	}
	for uid, i := range v.by {
		if _, ok := by[uid]; !ok {
			v.tell(Change{Time: now, UID: uid, Deleted: true, Instance: i})
		}
	}
	v.at, v.list, v.by = at, list, by
}

func (v *view) tell(c Change) {
	for s := range v.subs {
		if s.uid == Everyone || s.uid == c.UID {
			s.put(c)
		}
	}
}

// Subscription to changes. What its reader is too slow for is merged: only the newest state of each webspace waits.
type Subscription struct {
	uid  int
	view *view

	mu      sync.Mutex
	pending map[int]Change
	order   []int         // of those pending, by when they began to wait
	ready   chan struct{} // of capacity 1
	closed  chan struct{}
	once    sync.Once
}

// Watch tells of every change from now on, after the present state of each webspace that it is about. It needs Run.
func (s *Service) Watch(uid int) *Subscription {
	w := &Subscription{uid: uid, view: &s.view, pending: make(map[int]Change), ready: make(chan struct{}, 1), closed: make(chan struct{})}
	s.view.mu.Lock()
	defer s.view.mu.Unlock()
	if s.view.subs == nil {
		s.view.subs = make(map[*Subscription]bool)
	}
	s.view.subs[w] = true
	for _, known := range slices.Sorted(maps.Keys(s.view.by)) {
		if uid == Everyone || uid == known {
			w.put(Change{Time: s.view.at, UID: known, Instance: s.view.by[known]})
		}
	}
	return w
}

func (w *Subscription) put(c Change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, waiting := w.pending[c.UID]; !waiting {
		w.order = append(w.order, c.UID)
	}
	w.pending[c.UID] = c
	hint(w.ready)
}

// Next waits for the next change, the end of ctx, or Close.
func (w *Subscription) Next(ctx context.Context) (Change, error) {
	for {
		w.mu.Lock()
		if len(w.order) > 0 {
			c := w.pending[w.order[0]]
			delete(w.pending, w.order[0])
			w.order = w.order[1:]
			w.mu.Unlock()
			return c, nil
		}
		w.mu.Unlock()
		select {
		case <-w.ready:
		case <-w.closed:
			return Change{}, ErrClosed
		case <-ctx.Done():
			return Change{}, ctx.Err()
		}
	}
}

// Close ends the subscription.
func (w *Subscription) Close() {
	w.once.Do(func() {
		close(w.closed)
		w.view.mu.Lock()
		defer w.view.mu.Unlock()
		delete(w.view.subs, w)
	})
}

// Cached are all webspaces by uid as they were last seen, and when that was; the zero time: not yet. With Run that is
// never long ago while LXD answers. The caller must not change what the list refers to.
func (s *Service) Cached() (list []Instance, at time.Time) {
	s.view.mu.Lock()
	defer s.view.mu.Unlock()
	return slices.Clone(s.view.list), s.view.at
}

// CachedOne is one webspace as it was last seen.
func (s *Service) CachedOne(uid int) (i Instance, ok bool) {
	s.view.mu.Lock()
	defer s.view.mu.Unlock()
	i, ok = s.view.by[uid]
	return i, ok
}

// Run keeps the view for Cached and Watch up to date, and removes what creations of a killed process left, until ctx
// ends. Everything but Cached and Watch works without it.
func (s *Service) Run(ctx context.Context) error {
	hints := s.store.Watch(ctx)
	defer func() {
		for range hints { // until it is closed: nothing of ours is left behind
		}
	}()
	tick := time.NewTicker(s.o.ResyncEvery)
	defer tick.Stop()
	said := ""
	for ctx.Err() == nil {
		began := time.Now()
		list, err := s.look(ctx)
		switch {
		case ctx.Err() != nil:
		case err != nil && said != err.Error():
			said = err.Error()
			s.log.Warn("the webspaces cannot be listed; the last view stays", "err", err)
		case err == nil:
			if said != "" {
				s.log.Info("the webspaces can be listed again", "webspaces", len(list))
			}
			said = ""
			s.sweep(ctx, list)
		}
		// Looking costs LXD time. A storm of hints may take half of it at most.
		select {
		case <-ctx.Done():
			continue
		case <-time.After(time.Since(began)):
		}
		select {
		case <-ctx.Done():
		case <-hints:
		case <-tick.C:
		}
	}
	return nil
}

// Sync looks at a webspace again, and tells those who watch.
func (s *Service) Sync(ctx context.Context, uid int) error {
	if _, err := s.Get(ctx, uid); err != nil {
		return err
	}
	_, err := s.look(ctx)
	return err
}

// notFound is the error of a webspace that is not there.
func (s *Service) notFound(uid int, err error) error {
	return &Problem{What: fmt.Sprintf("there is no webspace of user %d", uid), Cause: "it was not created, or is deleted", Next: "create it: lanyard ws init", Kind: ErrNotFound, Err: err}
}
