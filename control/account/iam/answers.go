package iam

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/lanyard-project/lanyard/control/account"
)

const maxAnswers = 4096

// answers remembers what the directory said, and asks once for many that ask at once.
type answers struct {
	options Options
	flights singleflight.Group
	mu      sync.Mutex
	known   map[string]answer
	epoch   int // changes when everything is forgotten
}

type answer struct {
	id account.Identity
	at time.Time
}

func newAnswers(o Options) *answers { return &answers{options: o, known: map[string]answer{}} }

func (a *answers) get(ctx context.Context, key string, ask func(context.Context) (account.Identity, error)) (account.Identity, error) {
	known, epoch, ok := a.look(key)
	if ok && a.options.Now().Sub(known.at) < a.options.Fresh {
		return known.id, nil
	}
	// The question is everybody's: it does not end with who asked first, but with the client's own limit.
	done := a.flights.DoChan(key, func() (any, error) {
		at := a.options.Now()
		if known, _, ok := a.look(key); ok && at.Sub(known.at) < a.options.Fresh { // a flight ended since
			return known.id, nil
		}
		id, err := ask(context.WithoutCancel(ctx))
		a.learn(key, epoch, answer{id, at}, err)
		return id, err
	})
	select {
	case <-ctx.Done():
		return account.Identity{}, away("the caller did not wait", ctx.Err())
	case r := <-done:
		if errors.Is(r.Err, errAway) && ok && a.options.Now().Sub(known.at) < a.options.Stale {
			return known.id, nil
		}
		return r.Val.(account.Identity), r.Err
	}
}

func (a *answers) look(key string) (answer, int, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	known, ok := a.known[key]
	return known, a.epoch, ok
}

func (a *answers) learn(key string, epoch int, v answer, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case errors.Is(err, errAway), epoch != a.epoch:
		return
	case err != nil:
		delete(a.known, key)
		return
	}
	if len(a.known) >= maxAnswers {
		a.shrink(v.at)
	}
	a.known[key] = v
}

// shrink makes room: what has no value goes first, and then any, an eighth at a time.
func (a *answers) shrink(now time.Time) {
	for k, v := range a.known {
		if now.Sub(v.at) >= max(a.options.Fresh, a.options.Stale) {
			delete(a.known, k)
		}
	}
	for k := range a.known {
		if len(a.known) <= maxAnswers*7/8 {
			return
		}
		delete(a.known, k)
	}
}

// forget drops everything: who logged out has other tokens too, which only the directory knows.
func (a *answers) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.known)
	a.epoch++
}
