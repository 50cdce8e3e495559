package webspace

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
)

// AddPort forwards an external port to a port of a webspace, and returns the external one. external 0: a random one.
//
// ErrTooManyPorts, ErrBadPort, and ErrUsed, in this order; ErrExhausted when there is no free port to choose.
func (s *Service) AddPort(ctx context.Context, uid int, proto Proto, external, internal int) (int, error) {
	if err := s.checkPort(proto, external, internal); err != nil {
		return 0, s.portError(ctx, uid, err)
	}
	for range attempts {
		f, err := s.addPort(ctx, uid, Forward{proto, uint16(external)}, uint16(internal))
		if err == nil {
			return int(f.Port), nil
		}
		if external != 0 || !errors.Is(err, ErrUsed) {
			return 0, err
		}
		// Another process has chosen the same one at the same time: choose again.
	}
	return 0, &Problem{What: "could not add a port", Cause: "others kept taking it", Next: "try again", Kind: ErrConflict}
}

// portError is why a port cannot be had: what is wrong with the webspace comes before what is wrong with the port.
func (s *Service) portError(ctx context.Context, uid int, err error) error {
	i, missing := s.Get(ctx, uid)
	if missing != nil {
		return missing
	}
	if i.RecordErr != nil {
		return i.RecordErr
	}
	return cmp.Or(s.room(i.Record), err)
}

func (s *Service) checkPort(proto Proto, external, internal int) error {
	switch {
	case !proto.Valid():
		return badPort(fmt.Sprintf("%.20q is neither tcp nor udp", proto))
	case internal < 1 || internal > math.MaxUint16:
		return badPort(fmt.Sprintf("%d is not between 1 and 65535", internal))
	case external != 0 && (external < int(s.o.FirstPort) || external > int(s.o.LastPort)):
		return badPort(fmt.Sprintf("%d is not between %d and %d, which can be had outside", external, s.o.FirstPort, s.o.LastPort))
	}
	return nil
}

// addPort claims, writes, and makes sure that nobody else got the same.
func (s *Service) addPort(ctx context.Context, uid int, want Forward, internal uint16) (Forward, error) {
	f, err := s.claimPort(ctx, uid, want)
	if err != nil {
		return Forward{}, s.portError(ctx, uid, err)
	}
	err = s.update(ctx, uid, func(r *Record) error {
		if err := s.room(*r); err != nil {
			return err
		}
		if r.Has(f) {
			return usedPort(f)
		}
		r.setPort(f, internal)
		return nil
	})
	s.index.settlePort(f, err == nil || unsure(err) || errors.Is(err, ErrUsed)) // it is ours all the same, or soon seen to be free
	if err != nil {
		return Forward{}, err
	}
	alone, err := s.alone(ctx, uid, func(r Record) bool { return r.Has(f) })
	if err == nil && !alone {
		err = errors.Join(usedPort(f), s.RemovePort(ctx, uid, f.Proto, int(f.Port)))
	}
	return f, err
}

// alone says whether no other webspace has what one was just given. Another process may give the same away at the same
// time: whoever sees that takes it back, so that of two at once at most one believes to have it.
func (s *Service) alone(ctx context.Context, uid int, has func(Record) bool) (bool, error) {
	list, err := s.look(ctx)
	return !slices.ContainsFunc(list, func(i Instance) bool { return i.UID != uid && i.RecordErr == nil && has(i.Record) }), err
}

// unsure says that something may have been written all the same: what it claimed stays claimed until the next look.
func unsure(err error) bool {
	return errors.Is(err, ErrUnavailable) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// claimPort takes a port for a webspace until settlePort. What seems to be taken is looked at again before it is refused.
func (s *Service) claimPort(ctx context.Context, uid int, want Forward) (Forward, error) {
	if err := s.indexed(ctx); err != nil {
		return Forward{}, err
	}
	f, ok := s.index.claimPort(uid, want)
	if !ok {
		if _, err := s.look(ctx); err != nil {
			return Forward{}, err
		}
		f, ok = s.index.claimPort(uid, want)
	}
	switch {
	case ok:
		return f, nil
	case want.Port != 0:
		return Forward{}, usedPort(want)
	}
	return Forward{}, &Problem{
		What: "could not find a free port", Cause: fmt.Sprintf("all of %d - %d are taken", s.o.FirstPort, s.o.LastPort),
		Next: "remove forwards that are not needed, or widen the range in the configuration", Kind: ErrExhausted,
	}
}

// room says whether one more forward may be added.
func (s *Service) room(r Record) error {
	if n := len(r.Ports) + len(r.UDPPorts); n >= s.o.MaxPorts {
		return &Problem{What: "could not add a port", Cause: fmt.Sprintf("there are %d, which is the limit", n), Next: "remove one: lanyard ws ports remove", Kind: ErrTooManyPorts}
	}
	return nil
}

func badPort(cause string) error {
	return &Problem{What: "this port cannot be used", Cause: cause, Next: "choose another, or none to get a random one", Kind: ErrBadPort}
}

func usedPort(f Forward) error {
	return &Problem{What: "could not add port " + f.String(), Cause: "a webspace has it", Next: "choose another, or none to get a random one", Kind: ErrUsed}
}

// RemovePort ends a forward; ErrNotFound when there is none, ErrBadPort for what is not a port at all.
func (s *Service) RemovePort(ctx context.Context, uid int, proto Proto, external int) error {
	if !proto.Valid() || external < 1 || external > math.MaxUint16 {
		return badPort(fmt.Sprintf("%.20s/%d is not a port between 1 and 65535", proto, external))
	}
	f := Forward{proto, uint16(external)}
	err := s.update(ctx, uid, func(r *Record) error {
		if !r.Has(f) {
			return &Problem{What: "could not remove port " + f.String(), Cause: "this webspace does not have it", Next: "see: lanyard ws ports", Kind: ErrNotFound}
		}
		r.setPort(f, 0)
		return nil
	})
	if err == nil {
		s.index.settlePort(f, false)
	}
	return err
}
