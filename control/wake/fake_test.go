package wake

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lanyard-project/lanyard/control/ledger"
	"github.com/lanyard-project/lanyard/dataplane"
	"github.com/lanyard-project/lanyard/webspace"
)

var (
	lan     = netip.MustParsePrefix("172.24.0.0/16")
	addr1   = netip.MustParseAddr("172.24.7.1")
	outside = netip.MustParseAddr("203.0.113.10")
	near    = netip.MustParseAddr("172.24.9.9")
	ingress = netip.MustParseAddr("172.24.0.254")
)

// world is LXD, the dataplane and the webspaces of a test, under a bubble's clock.
type world struct {
	t      *testing.T
	e      *Engine
	events chan dataplane.Event
	frames chan dataplane.Frame

	pinned   dataplane.Life
	others   sync.WaitGroup
	mu       sync.Mutex
	boxes    map[string]*box
	injected []dataplane.Frame
	refused  []dataplane.Frame
	records  []ledger.Record
	lives    []dataplane.Life // in the order in which they were told
	running  int              // starts
	most     int              // of running
}

// box is one webspace as it is. Durations count from the beginning of its start.
type box struct {
	target   Target
	startErr error
	hang     bool          // LXD never gets it started
	start    time.Duration // LXD's start returns
	carrier  time.Duration // its port is there
	address  time.Duration // its address is up
	listen   time.Duration // its TCP port listens
	bind     time.Duration // its UDP port is bound
	dies     bool          // its init ends as soon as it is started
	silent   bool          // the kernel raises no events of its sockets
	lost     bool          // though it promised to
	quiet    bool          // nor of its first frame
	routes   bool          // the kernel tells of its address
	stopping time.Duration // a stop takes that long
	freezing time.Duration
	freezeErr,
	stopErr error
	shutting bool   // LXD stops it
	doing    string // and how it calls that

	began    time.Time
	started  int
	freezes  int
	thaws    int
	answered map[uint16]bool
}

const webPort, gamePort = 80, 7000

func newWorld(t *testing.T, c Config) *world {
	w := &world{t: t, boxes: make(map[string]*box), events: make(chan dataplane.Event, 4096), frames: make(chan dataplane.Frame, 4096)}
	c.LAN = Nets{Prefix: lan, Infra: []netip.Prefix{netip.MustParsePrefix("172.24.0.0/24")}}
	w.e = New(c, w, w, w, w, w, nil)
	return w
}

// add makes a webspace that boots as the design measured it.
func (w *world) add(uid int, b box) *box {
	a := addr1.As4()
	a[3] = byte(uid)
	b.target = Target{UID: uid, Name: "ws-u" + itoa(uid), Addr: netip.AddrFrom4(a), Status: webspace.Stopped, HTTPPort: webPort,
		StartupDelay: 5 * time.Second, Rule: b.target.Rule, Forwards: b.target.Forwards, Watched: b.target.Watched}
	for p, d := range map[*time.Duration]time.Duration{&b.carrier: 200 * time.Millisecond, &b.address: 215 * time.Millisecond, &b.start: 220 * time.Millisecond,
		&b.listen: 230 * time.Millisecond, &b.bind: 240 * time.Millisecond, &b.stopping: 300 * time.Millisecond, &b.freezing: 8 * time.Millisecond} {
		if *p == 0 {
			*p = d
		}
	}
	w.mu.Lock()
	w.boxes[b.target.Name] = &b
	w.mu.Unlock()
	return &b
}

// run runs f in a bubble with an engine that runs and has looked at LXD once.
func run(t *testing.T, c Config, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, c)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.e.Run(ctx) }()
		defer func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("the engine ended with %v", err)
			}
			w.others.Wait()
		}()
		synctest.Wait()
		f(t, w)
	})
}

// look is a pass of the agent.
func (w *world) look() {
	time.Sleep(time.Millisecond) // until a hint has reached it
	began := time.Now()
	w.mu.Lock()
	var list []Target
	for _, b := range w.boxes {
		list = append(list, b.target)
	}
	w.mu.Unlock()
	time.Sleep(time.Millisecond) // as LXD needs
	w.e.Observe(began, list)
	w.e.Applied(list)
}

func (w *world) Start(ctx context.Context, name string) error {
	w.mu.Lock()
	b := w.boxes[name]
	if b == nil {
		w.mu.Unlock()
		return webspace.ErrNotFound
	}
	if b.target.Status != webspace.Stopped {
		w.mu.Unlock()
		return errors.New("the instance is already running")
	}
	b.started++
	w.running++
	w.most = max(w.most, w.running)
	b.began = time.Now()
	b.answered = map[uint16]bool{}
	err := b.startErr
	w.mu.Unlock()
	defer func() { w.mu.Lock(); w.running--; w.mu.Unlock() }()
	if b.hang {
		<-ctx.Done()
		return ctx.Err()
	}
	if err != nil {
		time.Sleep(50 * time.Millisecond)
		return err
	}
	w.others.Go(func() { w.live(b) })
	time.Sleep(b.start)
	w.mu.Lock()
	b.target.Status = webspace.Running
	if b.dies {
		b.target.Status, b.target.Ifindex = webspace.Stopped, 0
	}
	w.mu.Unlock()
	w.others.Go(w.look)
	return nil
}

// live raises the events of a boot, each at its time.
func (w *world) live(b *box) {
	type moment struct {
		at time.Duration
		do func()
	}
	send := func(k dataplane.EventKind, p dataplane.Proto, port uint16) {
		w.events <- dataplane.Event{Kind: k, IP: b.target.Addr, Owner: b.target.Name, Proto: p, Port: port}
	}
	list := []moment{{b.carrier, func() {
		w.mu.Lock()
		b.target.Ifindex = 10 + b.target.UID
		w.mu.Unlock()
		w.look()
	}}}
	if !b.quiet {
		list = append(list, moment{b.address, func() { send(dataplane.EventFirstFrame, 0, 0) }})
	}
	if b.routes {
		list = append(list, moment{b.address, func() { w.e.Reachable(b.target.Addr) }})
	}
	if !b.silent {
		list = append(list, moment{b.listen, func() { send(dataplane.EventListen, dataplane.TCP, webPort) }},
			moment{b.bind, func() { send(dataplane.EventBind, dataplane.UDP, gamePort) }})
	}
	slices.SortStableFunc(list, func(x, y moment) int { return int(x.at - y.at) })
	began := time.Now()
	for _, m := range list {
		time.Sleep(m.at - time.Since(began))
		m.do()
	}
}

func (w *world) Stop(ctx context.Context, name string, grace time.Duration) error {
	w.mu.Lock()
	b := w.boxes[name]
	w.mu.Unlock()
	if b.stopErr != nil {
		return b.stopErr
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(b.stopping):
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	b.target.Status, b.target.Ifindex = webspace.Stopped, 0
	return nil
}

// shutDown is an admin's stop. The webspace refuses as soon as it has begun, and may be one that does not stop.
func (w *world) shutDown(b *box) {
	w.admin(b, webspace.Order{Name: b.target.Name, What: webspace.Stopping})
}

// turnOn is an admin's start.
func (w *world) turnOn(b *box) {
	w.admin(b, webspace.Order{Name: b.target.Name, What: webspace.Starting})
}

// restart is an admin's restart: one operation of LXD, as the stop is.
func (w *world) restart(b *box) {
	w.admin(b, webspace.Order{Name: b.target.Name, What: webspace.Restarting})
}

func (w *world) admin(b *box, o webspace.Order) {
	w.mu.Lock()
	b.shutting, b.doing = true, o.What+"instance"
	w.mu.Unlock()
	w.others.Go(func() {
		if o.What != webspace.Starting {
			time.Sleep(b.stopping)
		}
		w.mu.Lock()
		if b.stopErr == nil {
			b.target.Status, b.target.Ifindex, b.answered = webspace.Stopped, 0, nil
		}
		w.mu.Unlock()
		if o.What != webspace.Stopping && b.stopErr == nil {
			_ = w.Start(context.Background(), b.target.Name)
		}
		w.mu.Lock()
		b.shutting = false
		w.mu.Unlock()
	})
	w.e.Ordered(o)
}

func (w *world) Operations(context.Context) ([]webspace.Operation, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []webspace.Operation
	for _, b := range w.boxes {
		if b.shutting {
			out = append(out, webspace.Operation{Instance: b.target.Name, What: b.doing})
		}
	}
	return out, nil
}

func (w *world) Freeze(_ context.Context, name string) error {
	w.mu.Lock()
	b := w.boxes[name]
	w.mu.Unlock()
	time.Sleep(b.freezing)
	if b.freezeErr != nil {
		return b.freezeErr
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	b.freezes++
	b.target.Status = webspace.Frozen
	return nil
}

func (w *world) Unfreeze(_ context.Context, name string) error {
	time.Sleep(8 * time.Millisecond)
	w.mu.Lock()
	defer w.mu.Unlock()
	b := w.boxes[name]
	if b.target.Status != webspace.Frozen {
		return errors.New("the instance is not frozen")
	}
	b.target.Status = webspace.Running
	return nil
}

func (w *world) Get(_ context.Context, name string) (webspace.Instance, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := w.boxes[name]
	if b == nil {
		return webspace.Instance{}, webspace.ErrNotFound
	}
	return webspace.Instance{Name: name, UID: b.target.UID, Status: b.target.Status, Started: b.began}, nil
}
