package webspace

import (
	"context"
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

// Subscription to changes. What its reader is too slow for is merged: only the newest state of each webspace waits.
type Subscription struct {
}

// Watch tells of every change from now on, after the present state of each webspace that it is about. It needs Run.
func (s *Service) Watch(uid int) *Subscription { panic("skeleton") }

// Next waits for the next change.
func (w *Subscription) Next(ctx context.Context) (Change, error) { panic("skeleton") }

// Close ends the subscription.
func (w *Subscription) Close() { panic("skeleton") }

// Cached are all webspaces by uid as Run last saw them, and when that was; the zero time: not yet. The caller must not
// change what the list refers to.
func (s *Service) Cached() (list []Instance, at time.Time) { panic("skeleton") }

// CachedOne is one webspace as Run last saw it.
func (s *Service) CachedOne(uid int) (i Instance, ok bool) { panic("skeleton") }
