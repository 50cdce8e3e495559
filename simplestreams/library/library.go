package library

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/lanyard-project/lanyard/simplestreams"
	"github.com/lanyard-project/lanyard/simplestreams/catalog"
	"github.com/lanyard-project/lanyard/simplestreams/source"
	"github.com/lanyard-project/lanyard/simplestreams/store"
)

// Options of a Library. The zero value of each has a default.
type Options struct {
	Sources  []source.Source // the first one that has a repository serves it
	Store    *store.Store
	Catalog  catalog.Options
	Always   []simplestreams.Repo // kept fresh though nobody asks
	Refresh  time.Duration        // age at which a catalogue is made anew; default 5 min
	Local    time.Duration        // likewise, of a local source; default 5 s
	Retry    time.Duration        // after a failure; default 30 s
	Stale    time.Duration        // a failing source's last catalogue is served so long; default 7 days
	Idle     time.Duration        // a repository that nobody asked for is not refreshed after; default 1 day
	Timeout  time.Duration        // of making a catalogue; default 30 min
	Most     int                  // repositories in memory and on disk; default 1,000
	Prefetch bool                 // fetch the newest version of every image before somebody asks
	Log      *slog.Logger
	Observer Observer
}

// Observer is told what happens, for metrics. Its methods return at once.
type Observer interface {
	Refreshed(r simplestreams.Repo, took time.Duration, err error)
}

// Library is safe for concurrent use.
type Library struct {
	o       Options
	builder *catalog.Builder
	ctx     context.Context
	end     context.CancelFunc
	group   sync.WaitGroup

	mu     sync.Mutex
	closed bool
	repos  map[simplestreams.Repo]*entry
}

// entry is one repository. The Library's lock guards it.
type entry struct {
	view    *View // nil: none yet
	loaded  bool  // from disk, if it was there
	err     error // of the last refresh
	tried   time.Time
	next    time.Time // not refreshed before
	asked   time.Time
	flight  chan struct{} // closed when the refresh that is under way ends; nil: none is
	failing time.Time     // since when every refresh has failed
}

// New makes a Library. Close ends it.
func New(o Options) *Library {
	for _, d := range []struct {
		value *time.Duration
		or    time.Duration
	}{{&o.Refresh, 5 * time.Minute}, {&o.Local, 5 * time.Second}, {&o.Retry, 30 * time.Second}, {&o.Stale, 7 * 24 * time.Hour}, {&o.Idle, 24 * time.Hour}, {&o.Timeout, 30 * time.Minute}} {
		*d.value = cmp.Or(max(*d.value, 0), d.or)
	}
	o.Most = cmp.Or(max(o.Most, 0), 1000)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	l := &Library{o: o, builder: catalog.NewBuilder(o.Store, o.Catalog), repos: map[simplestreams.Repo]*entry{}}
	l.ctx, l.end = context.WithCancel(context.Background())
	for _, k := range o.Store.Keys("catalogs", "") { // those on disk count for the bound too
		if r, err := simplestreams.ParseRepo(k); err == nil {
			l.entry(r)
		}
	}
	return l
}

// Close ends what is under way, and waits for it.
func (l *Library) Close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.end()
	l.group.Wait()
}

// Run refreshes in the background until ctx ends.
func (l *Library) Run(ctx context.Context) error {
	tick := time.NewTicker(max(min(l.o.Refresh/5, l.o.Retry, 10*time.Second), 10*time.Millisecond))
	defer tick.Stop()
	for {
		l.refreshDue()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (l *Library) refreshDue() {
	for _, r := range l.o.Always {
		l.mu.Lock()
		e := l.entry(r)
		e.asked = time.Now()
		l.mu.Unlock()
	}
	for _, r := range l.known() {
		src, err := l.source(r)
		if err != nil {
			continue
		}
		l.mu.Lock()
		e := l.entry(r)
		if now := time.Now(); now.Sub(e.asked) < l.o.Idle && now.After(e.next) && l.stale(e, src) {
			l.refresh(r, src, e, false)
		}
		l.mu.Unlock()
	}
}

func (l *Library) known() []simplestreams.Repo {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []simplestreams.Repo
	for r := range l.repos {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b simplestreams.Repo) int { return cmp.Compare(a.String(), b.String()) })
	return out
}

// source is the one that has a repository.
func (l *Library) source(r simplestreams.Repo) (source.Source, error) {
	for _, s := range l.o.Sources {
		if s.Has(r) {
			return s, nil
		}
	}
	return nil, &simplestreams.Problem{What: "serve " + r.String(), Cause: "this server does not serve that repository",
		Next: "its administrator can add it to images.allow", Kind: simplestreams.ErrForbidden}
}

// entry finds or makes an entry, with what is on disk. The caller holds the lock.
func (l *Library) entry(r simplestreams.Repo) *entry {
	e := l.repos[r]
	if e == nil {
		l.bound()
		e = &entry{}
		l.repos[r] = e
	}
	if !e.loaded {
		e.loaded = true
		var c catalog.Catalog
		if l.o.Store.Get("catalogs", r.String(), &c) && c.Repo == r {
			e.view = newView(&c)
		}
	}
	return e
}

// bound makes room for one more. The caller holds the lock.
func (l *Library) bound() {
	for len(l.repos) >= l.o.Most {
		var oldest simplestreams.Repo
		var at time.Time
		for r, e := range l.repos {
			if e.flight == nil && (at.IsZero() || e.asked.Before(at)) {
				oldest, at = r, e.asked.Add(time.Nanosecond)
			}
		}
		if at.IsZero() {
			return // all are busy; it is over the bound for a moment
		}
		delete(l.repos, oldest)
		_ = l.o.Store.Delete("catalogs", oldest.String())
		_ = l.o.Store.Delete("listings", oldest.String())
	}
}

// limit is the age at which a source is asked again.
func (l *Library) limit(src source.Source) time.Duration {
	if src.Local() {
		return l.o.Local
	}
	return l.o.Refresh
}

func (l *Library) stale(e *entry, src source.Source) bool {
	return e.view == nil || e.view.Catalog.Source != src.Name() || time.Since(e.view.Catalog.Listed) >= l.limit(src) || e.view.retry
}

// Get gives what a repository offers. It waits for a source only when nothing at all is known yet.
func (l *Library) Get(ctx context.Context, r simplestreams.Repo) (*View, error) {
	src, err := l.source(r)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	e := l.entry(r)
	now := time.Now()
	e.asked = now
	if e.view != nil && e.view.Catalog.Source != src.Name() {
		e.view = nil // the repository has moved to another source
	}
	if e.view != nil && now.Sub(e.view.Catalog.Listed) > l.o.Stale+l.o.Refresh && e.err != nil {
		defer l.mu.Unlock()
		return nil, e.err
	}
	if l.stale(e, src) && now.After(e.next) {
		l.refresh(r, src, e, false)
	}
	view, flight, failed := e.view, e.flight, e.err
	l.mu.Unlock()
	switch {
	case view != nil:
		return view, nil
	case flight == nil:
		return nil, failed
	}
	return l.join(ctx, r, e, flight)
}

// Refresh asks the source now, unless it said not to, and waits for the result.
func (l *Library) Refresh(ctx context.Context, r simplestreams.Repo) (*View, error) {
	src, err := l.source(r)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	e := l.entry(r)
	e.asked = time.Now()
	l.refresh(r, src, e, true)
	flight, failed := e.flight, e.err
	l.mu.Unlock()
	if flight == nil {
		return nil, failed
	}
	v, err := l.join(ctx, r, e, flight)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return v, e.err
}

func (l *Library) join(ctx context.Context, r simplestreams.Repo, e *entry, flight chan struct{}) (*View, error) {
	select {
	case <-flight:
	case <-ctx.Done():
		return nil, &simplestreams.Problem{What: "serve " + r.String(), Cause: "its source did not answer in time", Next: "ask again: it goes on", Kind: simplestreams.ErrBusy, Err: ctx.Err(), Retry: 5 * time.Second}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.view != nil {
		return e.view, nil
	}
	return nil, e.err
}

// refresh begins a refresh if none is under way; with force the source is asked although it was asked lately. The caller
// holds the lock.
func (l *Library) refresh(r simplestreams.Repo, src source.Source, e *entry, force bool) {
	if e.flight != nil {
		return
	}
	if l.closed {
		e.err = &simplestreams.Problem{What: "serve " + r.String(), Cause: "the server is ending", Kind: simplestreams.ErrBusy}
		return
	}
	flight := make(chan struct{})
	e.flight, e.tried = flight, time.Now()
	l.group.Add(1)
	go func() {
		defer l.group.Done()
		began := time.Now()
		view, err := l.make(r, src, force)
		if err != nil && l.ctx.Err() == nil {
			l.o.Log.Warn("cannot refresh", "repository", r.String(), "err", err)
		}
		if l.o.Observer != nil {
			l.o.Observer.Refreshed(r, time.Since(began), err)
		}
		l.mu.Lock()
		e.err, e.flight = err, nil
		e.next = l.pause(err, view)
		if err == nil {
			e.view, e.failing = view, time.Time{}
		} else if e.failing.IsZero() {
			e.failing = began
		}
		l.mu.Unlock()
		close(flight)
		if err == nil && l.o.Prefetch {
			l.prefetch(r, src, view)
		}
	}()
}

// pause is when a repository may be refreshed next.
func (l *Library) pause(err error, v *View) time.Time {
	now := time.Now()
	var p *simplestreams.Problem
	switch {
	case err == nil && v.retry:
		return now.Add(l.o.Retry)
	case err == nil:
		return time.Time{}
	case errors.As(err, &p) && p.Retry > 0:
		// Not all at once, when the limit ends.
		return now.Add(p.Retry + rand.N(min(l.o.Retry, time.Second)))
	}
	return now.Add(l.o.Retry)
}

// make lists and builds.
func (l *Library) make(r simplestreams.Repo, src source.Source, force bool) (*View, error) {
	ctx, cancel := context.WithTimeout(l.ctx, l.o.Timeout)
	defer cancel()
	var before *source.Listing
	if kept := (keptListing{}); l.o.Store.Get("listings", r.String(), &kept) && kept.Source == src.Name() {
		before = &kept.Listing
	}
	listing := before
	if force || before == nil || time.Since(before.At) >= l.limit(src) {
		var err error
		if listing, err = src.List(ctx, r, before); err != nil {
			return nil, err
		}
	}
	c, err := l.builder.Build(ctx, src, r, listing)
	if err != nil {
		var p *simplestreams.Problem
		if errors.As(err, &p) {
			return nil, err
		}
		return nil, &simplestreams.Problem{What: "make the catalogue of " + r.String(), Cause: fmt.Sprintf("it was not done after %v: %v", l.o.Timeout, err), Next: "it goes on with the next refresh", Kind: simplestreams.ErrUpstream, Err: err}
	}
	if err := errors.Join(l.o.Store.Put("listings", r.String(), keptListing{src.Name(), *listing}), l.o.Store.Put("catalogs", r.String(), c)); err != nil {
		l.o.Log.Error("cannot keep a catalogue: it is made anew after a restart", "repository", r.String(), "err", err)
	}
	return newView(c), nil
}

type keptListing struct {
	Source  string         `json:"source"`
	Listing source.Listing `json:"listing"`
}
