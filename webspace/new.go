package webspace

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// CreateSpec is what a member wants.
type CreateSpec struct {
	UID      int
	Image    string   // alias, or fingerprint of 64 hexadecimal digits
	Password string   // of root; "": none. One newline at its end is removed
	SSH      bool     // install an SSH server where the image has none, and forward a random port to it
	SSHKeys  []string // of root, in the form of authorized_keys; needed with SSH (else ErrNoSSHKey)
	Node     string   // cluster member; "": LXD chooses
}

// Progress of a creation.
type Progress struct {
	Stage   string // image, create, start, network, ssh, password, stop, note, done; note: something to be kept in mind
	Text    string // one line for people
	Percent int    // of this stage, or -1
}

// buildingKey says until when a creation may go on: RFC 3339, and who is at it (see maker.go). It is renewed while it goes
// on, so that what a killed process has left can be told apart, and removed.
const buildingKey = Key + ".building"

const (
	buildingLease = 2 * time.Minute
	buildingRenew = 30 * time.Second
)

// Create makes a webspace. It is atomic: after an error nothing is left, and a retry starts afresh. progress may be nil;
// it is called from one goroutine at a time, and never after Create has returned.
func (s *Service) Create(ctx context.Context, spec CreateSpec, progress func(Progress)) (Instance, error) {
	if spec.UID < 0 || spec.UID > MaxUID {
		return Instance{}, badUID(spec.UID)
	}
	password, err := checkPassword(spec.Password)
	if err != nil {
		return Instance{}, err
	}
	keys, err := checkKeys(spec.SSHKeys)
	if err != nil {
		return Instance{}, err
	}
	if spec.SSH && len(keys) == 0 {
		return Instance{}, &Problem{What: "could not set up SSH", Cause: "your account has no SSH public key", Next: "add one to your account, or create without SSH", Kind: ErrNoSSHKey}
	}
	if !validImage(spec.Image) {
		return Instance{}, &Problem{What: fmt.Sprintf("%.80q is not the name of an image", spec.Image), Cause: "it is neither an alias nor a fingerprint", Next: "see what there is: lanyard ws images", Kind: ErrInvalid}
	}
	defer s.o.Hold(spec.UID)()
	ctx, cancel := context.WithTimeout(ctx, s.o.CreateTime)
	defer cancel()
	name := s.store.Name(spec.UID)
	unlock, err := s.work.lock(ctx, name)
	if err != nil {
		return Instance{}, err
	}
	defer unlock()
	if err := s.clear(ctx, spec.UID, name); err != nil {
		return Instance{}, err
	}
	tell := &teller{to: progress}
	defer tell.end()
	b := &build{s: s, spec: spec, password: password, keys: keys, tell: tell}
	return b.run(ctx)
}

// checkPassword removes the newline that a terminal or a pipe left, and refuses what no login could ever pass on.
func checkPassword(p string) (string, error) {
	p = strings.TrimSuffix(strings.TrimSuffix(p, "\n"), "\r")
	if strings.ContainsAny(p, "\x00\n\r") || len(p) > maxPassword {
		return "", &Problem{What: "this password cannot be used", Cause: fmt.Sprintf("it is longer than %d bytes, or has more than one line", maxPassword), Next: "choose another", Kind: ErrInvalid}
	}
	return p, nil
}

var imageName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$`)

func validImage(name string) bool { return len(name) <= 200 && imageName.MatchString(name) }

// clear makes sure that nothing of this name is there: ErrExists, or what a dead creation has left is removed.
func (s *Service) clear(ctx context.Context, uid int, name string) error {
	i, err := s.store.Get(ctx, name)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil
	case err != nil:
		return err
	case !s.abandoned(i) && i.building != "":
		return &Problem{What: "could not create webspace " + name, Cause: "it is being created; if its creator has died, what is left of it goes within two minutes",
			Next: "try again then", Kind: ErrExists}
	case !s.abandoned(i):
		return &Problem{What: "could not create webspace " + name, Cause: "it exists", Next: "see: lanyard ws status", Kind: ErrExists}
	}
	s.log.Warn("what a broken creation has left is removed", "webspace", name)
	err = s.insist(ctx, func(ctx context.Context) error {
		if err := s.store.Delete(ctx, name); !errors.Is(err, ErrNotFound) {
			return err
		}
		return nil
	})
	if err == nil {
		s.index.forget(uid)
	}
	return err
}

// abandoned says that an instance is what a creation has left whose process is gone. The caller holds the work lock of
// its name, so that a creation of this process cannot be going on.
func (s *Service) abandoned(i Instance) bool {
	until, who, ok := strings.Cut(i.building, " ")
	if !ok {
		return false
	}
	t, err := time.Parse(time.RFC3339, until)
	return who == s.maker || err == nil && time.Now().After(t) || dead(who)
}

func (s *Service) buildingMark() string {
	return time.Now().Add(buildingLease).UTC().Format(time.RFC3339) + " " + s.maker
}

// sweep removes what dead creations have left, and what those of this Service could not remove at once.
func (s *Service) sweep(ctx context.Context, list []Instance) {
	for _, i := range list {
		if !s.abandoned(i) || s.work.busy(i.Name) {
			continue
		}
		err := s.change(ctx, i.UID, func(now Instance) error {
			if !s.abandoned(now) {
				return nil
			}
			s.log.Warn("what a broken creation has left is removed", "webspace", now.Name)
			if err := s.store.Delete(ctx, now.Name); err != nil {
				return err
			}
			s.index.forget(now.UID)
			return nil
		})
		if err != nil && !errors.Is(err, ErrNotFound) {
			s.log.Warn("what a broken creation has left cannot be removed yet", "webspace", i.Name, "err", err)
		}
	}
}

// build is one creation.
type build struct {
	s        *Service
	spec     CreateSpec
	password string
	keys     []string
	tell     *teller
}

func (b *build) run(ctx context.Context) (Instance, error) {
	s := b.s
	r := Record{User: b.spec.UID, Config: s.o.Defaults.Clone()}
	var ssh Forward
	if b.spec.SSH {
		var err error
		if ssh, err = s.claimPort(ctx, b.spec.UID, Forward{Proto: TCP}); err != nil {
			return Instance{}, err
		}
		r.setPort(ssh, 22)
	}
	address, err := s.claimAddress(ctx, b.spec.UID)
	if err != nil {
		if b.spec.SSH {
			s.index.settlePort(ssh, false)
		}
		return Instance{}, err
	}
	r.Address = address
	config := map[string]string{
		"security.privileged": "false", "security.nesting": "false", "security.idmap.isolated": "true",
		buildingKey: s.buildingMark(),
	}
	for k, v := range s.o.InstanceConfig {
		config[k] = v
	}
	b.tell.say("create", "making the webspace of image "+b.spec.Image, -1)
	i, err := s.store.Create(ctx, CreateOptions{
		UID: b.spec.UID, Image: b.spec.Image, Record: r, Node: b.spec.Node, MTU: s.o.MTU, Config: config, Free: true, Look: s.look,
		Setup:    b.setup,
		Progress: func(text string) { b.tell.say("image", text, percent(text)) },
	})
	if b.spec.SSH {
		s.index.settlePort(ssh, err == nil || unsure(err))
	}
	s.index.settleAddress(address, err == nil && i.Record.Address == address || err != nil && unsure(err))
	if err != nil {
		return Instance{}, err
	}
	b.tell.say("done", "webspace "+i.Name+" is ready", 100)
	return i, nil
}

// claimAddress takes an address for a new webspace until settleAddress. Another process may choose the same at the same
// time: the Store sees that after the creation.
func (s *Service) claimAddress(ctx context.Context, uid int) (netip.Addr, error) {
	if err := s.indexed(ctx); err != nil {
		return netip.Addr{}, err
	}
	return s.index.claimAddress(uid, s.store.o.Pool)
}

// setup does everything between the creation of the instance and the moment when it belongs to its member.
func (b *build) setup(ctx context.Context, i Instance) error {
	s := b.s
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var keeper sync.WaitGroup
	keeper.Go(func() { b.keep(ctx, i.Name, cancel) })
	err := b.steps(ctx, i)
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	cancel(nil)
	keeper.Wait()
	if err != nil {
		return err
	}
	return s.store.edit(context.WithoutCancel(ctx), i.Name, func(*Instance) (patch, error) {
		return patch{Config: map[string]string{buildingKey: ""}}, nil
	})
}

// keep renews the mark, so that nobody takes the instance for a leftover. When that fails for too long it gives up.
func (b *build) keep(ctx context.Context, name string, fail context.CancelCauseFunc) {
	tick := time.NewTicker(buildingRenew)
	defer tick.Stop()
	until := time.Now().Add(buildingLease)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := b.s.store.edit(ctx, name, func(*Instance) (patch, error) {
			return patch{Config: map[string]string{buildingKey: b.s.buildingMark()}}, nil
		})
		if err == nil {
			until = time.Now().Add(buildingLease)
		} else if time.Now().After(until) {
			fail(err)
			return
		}
	}
}

func (b *build) steps(ctx context.Context, i Instance) error {
	s := b.s
	if b.password != "" {
		b.tell.say("password", "setting the password of root", -1)
		if err := s.store.SetPassword(ctx, i.Name, b.password); err != nil {
			return err
		}
	}
	running := false
	if len(b.keys) > 0 {
		b.tell.say("ssh", "installing the SSH keys", -1)
		if err := s.store.addKeys(ctx, i.Name, b.keys); err != nil {
			return err
		}
	}
	if b.spec.SSH {
		var err error
		if running, err = b.server(ctx, i); err != nil {
			return err
		}
	}
	switch {
	case running && !s.o.StartNew:
		b.tell.say("stop", "shutting it down until it is visited", -1)
		now, err := s.store.Get(ctx, i.Name)
		if err != nil {
			return err
		}
		return s.stop(ctx, now, s.o.StopGrace)
	case !running && s.o.StartNew:
		b.tell.say("start", "starting it", -1)
		return s.start(ctx, i)
	}
	return nil
}

// percent reads "rootfs: 42% (10MB/s)".
func percent(text string) int {
	before, _, ok := strings.Cut(text, "%")
	if !ok {
		return -1
	}
	fields := strings.Fields(before)
	if len(fields) == 0 {
		return -1
	}
	n, err := strconv.Atoi(fields[len(fields)-1])
	if err != nil || n < 0 || n > 100 {
		return -1
	}
	return n
}

// teller passes on progress until the creation has ended, one at a time.
type teller struct {
	mu sync.Mutex
	to func(Progress)
}

func (t *teller) say(stage, text string, percent int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.to != nil {
		t.to(Progress{stage, text, percent})
	}
}

func (t *teller) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.to = nil
}
