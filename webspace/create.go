package webspace

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"time"

	"github.com/lxc/incus/shared/api"
)

// CreateOptions say what a new webspace is made of.
type CreateOptions struct {
	UID    int
	Image  string            // alias, or fingerprint of 64 hexadecimal digits
	Record Record            // User is set from UID; Address is allocated unless it is set
	Node   string            // cluster member to create it on; "" lets LXD choose
	MTU    int               // of its NIC, bytes; 0: LXD's default
	Start  bool              // start it as well
	Config map[string]string // further instance configuration, e.g. limits.memory

	// Free says that the caller knows the address of Record to be nobody's, and keeps others here from choosing it.
	// Nothing is listed before the creation then.
	Free bool
	// Look lists all webspaces, as they are when it is called or later; nil: List.
	Look func(context.Context) ([]Instance, error)

	// Setup does what else belongs to the creation, after the instance is made and before it is started. Its error undoes
	// everything.
	Setup func(context.Context, Instance) error
	// Progress is told what LXD says of its work on the image, e.g. "rootfs: 42% (10MB/s)".
	Progress func(string)
}

// nonceKey marks who created an instance, so that a failed creation removes only its own.
const nonceKey = Key + ".creation"

// cleanup after a failure has its own time, because the caller's may be over.
const cleanupTime = time.Minute

var fingerprint = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Create makes a webspace: it allocates the address, creates the container with its record and NIC in one step, makes
// sure that nobody else took the address meanwhile, and starts it when asked to. It is atomic: after an error the
// instance is not there, unless it was there before (ErrExists), and a retry starts afresh. An unknown image is
// ErrNotFound.
func (s *Store) Create(ctx context.Context, o CreateOptions) (Instance, error) {
	if o.UID < 0 || o.UID > MaxUID {
		return Instance{}, &Problem{What: "could not create a webspace", Cause: fmt.Sprintf("uid %d is not between 0 and %d", o.UID, MaxUID), Kind: ErrInvalid}
	}
	name := s.Name(o.UID)
	if len(name) > 63 { // LXD's own limit for a host name
		return Instance{}, &Problem{What: "could not create webspace " + name, Cause: "the name is longer than 63 characters", Next: "configure a shorter prefix", Kind: ErrInvalid}
	}
	if o.Image == "" {
		return Instance{}, &Problem{What: "could not create webspace " + name, Cause: "no image is named", Next: "see what there is: lxc image list", Kind: ErrInvalid}
	}
	nonce := make([]byte, 16)
	rand.Read(nonce) // never fails: crypto/rand, Go 1.24
	mark := hex.EncodeToString(nonce)

	op, sent, err := s.create(ctx, name, mark, o)
	var i Instance
	if err == nil && o.Setup != nil {
		if i, err = s.Get(ctx, name); err == nil {
			err = o.Setup(ctx, i)
		}
	}
	if err == nil && o.Start {
		err = s.Start(ctx, name)
	}
	if err == nil {
		i, err = s.Get(ctx, name)
	}
	if err == nil || !sent {
		return i, err
	}
	if leftover := s.undo(context.WithoutCancel(ctx), name, mark, op); leftover != nil {
		err = &Problem{What: err.Error(), Cause: "and what was begun could not be removed: " + leftover.Error(), Next: "lxc delete --force " + name, Err: err}
	}
	return Instance{}, err
}

// create allocates and creates. Two creations here never choose the same address: it is reserved until LXD has it. One
// on another node could; that is seen afterwards, and the younger moves. op is the operation that LXD works on, if it got
// so far; sent says that LXD may have begun something.
func (s *Store) create(ctx context.Context, name, mark string, o CreateOptions) (op string, sent bool, err error) {
	r, release, err := s.reserve(ctx, name, o)
	if err != nil {
		return "", false, err
	}
	defer release()
	if err := ctx.Err(); err != nil {
		return "", false, s.failed("create webspace "+name, err)
	}
	select {
	case s.making <- struct{}{}:
	case <-ctx.Done():
		return "", false, s.failed("create webspace "+name, ctx.Err())
	}
	op, err = s.post(ctx, name, mark, r, o)
	<-s.making
	if err != nil {
		return op, true, err
	}
	return op, true, s.verify(ctx, name, o)
}

// reserve chooses the address of a new webspace, and keeps others here from choosing it until release.
func (s *Store) reserve(ctx context.Context, name string, o CreateOptions) (r Record, release func(), err error) {
	s.allocate.Lock()
	defer s.allocate.Unlock()
	what := "could not create webspace " + name
	var list []Instance
	if !o.Free {
		if list, err = o.look(ctx, s); err != nil {
			return Record{}, nil, err
		}
	}
	used := s.used(list)
	for _, i := range list {
		if i.Name == name {
			return Record{}, nil, &Problem{What: what, Cause: "it exists", Next: "see: lxc info " + name, Kind: ErrExists}
		}
	}
	r = o.Record.Clone()
	r.User = o.UID
	switch {
	case !r.Address.IsValid():
		if r.Address, err = s.o.Pool.Allocate(o.UID, used); err != nil {
			return Record{}, nil, err
		}
	case !s.o.Pool.Contains(r.Address):
		return Record{}, nil, &Problem{What: what, Cause: fmt.Sprintf("%s is not in %s - %s", r.Address, s.o.Pool.First, s.o.Pool.Last), Kind: ErrInvalid}
	case used(r.Address):
		return Record{}, nil, &Problem{What: what, Cause: r.Address.String() + " is taken", Kind: ErrExists}
	}
	if s.reserved == nil {
		s.reserved = make(map[netip.Addr]bool)
	}
	s.reserved[r.Address] = true
	return r, func() {
		s.allocate.Lock()
		defer s.allocate.Unlock()
		delete(s.reserved, r.Address)
	}, nil
}

// used are the addresses that may not be given out: those in the list, and those that creations here will write. The
// caller holds allocate.
func (s *Store) used(list []Instance) func(netip.Addr) bool {
	used := maps.Clone(s.reserved)
	if used == nil {
		used = make(map[netip.Addr]bool, len(list))
	}
	for _, i := range list {
		used[i.Record.Address] = true
	}
	return func(a netip.Addr) bool { return used[a] }
}

func (o CreateOptions) look(ctx context.Context, s *Store) ([]Instance, error) {
	if o.Look != nil {
		return o.Look(ctx)
	}
	return s.List(ctx)
}

func (s *Store) post(ctx context.Context, name, mark string, r Record, o CreateOptions) (op string, err error) {
	text, err := Encode(r)
	if err != nil {
		return "", err
	}
	req := api.InstancesPost{
		Name: name, Type: api.InstanceTypeContainer, Source: api.InstanceSource{Type: "image"},
		InstancePut: api.InstancePut{
			Profiles: s.o.Profiles,
			Devices:  map[string]map[string]string{"eth0": nic(MAC(r.Address), o.MTU)},
			Config:   map[string]string{},
		},
	}
	for k, v := range o.Config {
		req.Config[k] = v
	}
	req.Config[Key], req.Config[nonceKey] = text, mark
	if fingerprint.MatchString(o.Image) {
		req.Source.Fingerprint = o.Image
	} else {
		req.Source.Alias = o.Image
	}
	target := url.Values{}
	if o.Node != "" {
		target.Set("target", o.Node)
	}
	var show func(map[string]any)
	if o.Progress != nil {
		show = func(metadata map[string]any) {
			for _, key := range []string{"download_progress", "create_instance_from_image_unpack_progress"} {
				if text, ok := metadata[key].(string); ok {
					o.Progress(text)
				}
			}
		}
	}
	op, err = s.operateShown(ctx, "create webspace "+name, "POST", "/1.0/instances", target, req, "", show)
	if errors.Is(err, ErrConflict) {
		err = &Problem{What: "could not create webspace " + name, Cause: "somebody else is creating it", Next: "see: lxc info " + name, Kind: ErrExists, Err: err}
	}
	return op, err
}

// verify looks whether an older webspace has our address after all, and moves away from it until none has.
func (s *Store) verify(ctx context.Context, name string, o CreateOptions) error {
	for range attempts {
		list, err := o.look(ctx, s)
		if err != nil {
			return err
		}
		settled, _ := Settle(list)
		lost := false
		for _, i := range settled {
			if i.Name == name {
				lost = errors.Is(i.RecordErr, ErrConflict)
			}
		}
		if !lost {
			return nil
		}
		s.allocate.Lock()
		used := s.used(list)
		s.allocate.Unlock()
		if err := s.assign(ctx, name, used, o.MTU); err != nil {
			return err
		}
	}
	return &Problem{What: "could not create webspace " + name, Cause: "others kept taking its address", Next: "try again", Kind: ErrConflict}
}

// assign gives an instance a free address, and the NIC that goes with it.
func (s *Store) assign(ctx context.Context, name string, used func(netip.Addr) bool, mtu int) error {
	return s.edit(ctx, name, func(i *Instance) (patch, error) {
		if i.RecordErr != nil {
			return patch{}, i.RecordErr
		}
		r := i.Record.Clone()
		var err error
		if r.Address, err = s.o.Pool.Allocate(i.UID, used); err != nil {
			return patch{}, err
		}
		text, err := Encode(r)
		if err != nil {
			return patch{}, err
		}
		return patch{Config: map[string]string{Key: text}, record: &r, Devices: map[string]map[string]string{"eth0": nic(MAC(r.Address), mtu)}}, nil
	})
}

// undo removes what a failed creation left, and only that: the instance must carry our mark. LXD may still be at work
// on it, or be away for a while.
func (s *Store) undo(ctx context.Context, name, mark, op string) error {
	ctx, cancel := context.WithTimeout(ctx, cleanupTime)
	defer cancel()
	for {
		err := s.removeMarked(ctx, name, mark, op)
		if err == nil {
			return nil
		}
		select { // LXD refuses while it is busy with what we no longer wait for
		case <-time.After(250 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

func (s *Store) removeMarked(ctx context.Context, name, mark, op string) error {
	// LXD creates and starts on when nobody waits for it any more, and then holds up whoever deletes for 30 s. The answer
	// that named its work may have been lost.
	for first := true; op != "" || first; first = false {
		if op != "" {
			err := s.await(ctx, "create webspace "+name, &api.Operation{ID: op, StatusCode: api.Running})
			if errors.Is(err, ErrUnavailable) && !errors.Is(err, errForgotten) {
				return err
			}
		}
		var err error
		if op, err = s.working(ctx, name); err != nil {
			return err
		}
	}
	var raw api.Instance
	_, err := s.get(ctx, "look for "+name, "/1.0/instances/"+name, nil, &raw)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil
	case err != nil:
		return err
	case raw.Config[nonceKey] != mark:
		return nil // somebody else's
	}
	if err = s.Delete(ctx, name); errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// Adopt completes records that came without an address, as those of the seed system do: each gets one, and the NIC
// that goes with it, and is from then on written in our own key. Only one process in a cluster may do this at a time
// (the leader). It returns what it adopted; an instance that fails is reported and does not stop the others.
func (s *Store) Adopt(ctx context.Context, mtu int) (adopted []string, issues []Issue, err error) {
	s.allocate.Lock()
	defer s.allocate.Unlock()
	list, err := s.List(ctx)
	if err != nil {
		return nil, nil, err
	}
	list, _ = Settle(list)
	if slices.ContainsFunc(list, func(i Instance) bool { return i.Status == Errored }) {
		// Its address is not known now, and could be given away. Nothing is urgent about adoption.
		return nil, nil, nil
	}
	taken := s.used(list)
	given := make(map[netip.Addr]bool)
	used := func(a netip.Addr) bool { return given[a] || taken(a) }
	for _, i := range list {
		if i.RecordErr != nil || i.Record.Address.IsValid() {
			continue
		}
		if err := s.assign(ctx, i.Name, used, mtu); err != nil {
			issues = append(issues, Issue{i.Name, err})
			continue
		}
		now, err := s.Get(ctx, i.Name)
		if err != nil {
			issues = append(issues, Issue{i.Name, err})
			continue
		}
		given[now.Record.Address] = true
		adopted = append(adopted, i.Name)
	}
	return adopted, issues, nil
}
