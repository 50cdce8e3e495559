package sleep

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"sync"
	"time"

	"github.com/lanyard-project/lanyard/control/ledger"
	"github.com/lanyard-project/lanyard/dataplane"
	"github.com/lanyard-project/lanyard/webspace"
)

// Plane is what is asked of the dataplane; *dataplane.Dataplane has it.
type Plane interface {
	Activity() (map[netip.Addr]dataplane.Activity, error)
	Flows(netip.Addr) ([]dataplane.Flow, error)
}

// LXD is what is asked of it; *webspace.Store has it.
type LXD interface {
	Get(ctx context.Context, name string) (webspace.Instance, error)
	Operations(ctx context.Context) ([]webspace.Operation, error)
}

// Power freezes and stops, and owns the state of every webspace's endpoint meanwhile; *wake.Engine has it. Each call ends
// with a record in the ledger.
type Power interface {
	// Nap freezes a webspace. It is undone when a packet comes meanwhile.
	Nap(ctx context.Context, addr netip.Addr, cause ledger.Cause) error
	// Sleep stops a webspace: gracefully for as long as grace, then by force.
	Sleep(ctx context.Context, addr netip.Addr, cause ledger.Cause, grace time.Duration) error
	// EnsureStarted lets a webspace go on that naps.
	EnsureStarted(ctx context.Context, uid int, cause ledger.Cause) (netip.Addr, error)
}

// Options of a Keeper. Zero values have the defaults.
type Options struct {
	Check      time.Duration // between two looks; default 5 s
	Grace      time.Duration // of a stop, before it is forced; default 30 s
	Pressure   Thresholds
	ShortGrace time.Duration // of a stop for want of memory; default 5 s
	Hurry      time.Duration // between two looks while memory is short; default 1 s
	Parallel   int           // webspaces on their way to sleep at once; default 8
	// ReclaimAfter is how long a webspace has napped when its memory is taken back; 0: never.
	ReclaimAfter time.Duration
	// Stale is how long a webspace's last packet may be ago until its connections are taken for dead: their other end
	// went without a word. Default 2h4m, as long as an idle connection must be kept by NAT (RFC 5382).
	Stale time.Duration
}

func (o Options) withDefaults() Options {
	for p, d := range map[*time.Duration]time.Duration{&o.Check: 5 * time.Second, &o.Grace: 30 * time.Second,
		&o.ShortGrace: 5 * time.Second, &o.Hurry: time.Second, &o.Stale: 2*time.Hour + 4*time.Minute} {
		if *p <= 0 {
			*p = d
		}
	}
	if o.Parallel <= 0 {
		o.Parallel = 8
	}
	return o
}

// Keeper puts the webspaces of one node to sleep. Make it with New, give it life with Run.
type Keeper struct {
	o     Options
	local func() []webspace.Instance // of this node, as last heard from LXD
	lxd   LXD
	plane Plane
	power Power
	gauge Gauge
	holds *Holds
	// sockets gives a running webspace's live connections without the dataplane; nil: there is no way to.
	sockets func(name string) ([]dataplane.Flow, error)
	log     *slog.Logger

	reclaim func(ctx context.Context, name string) (int64, error) // nil: nobody can
	steps   sync.WaitGroup

	mu         sync.Mutex
	busy       map[int]time.Time // by uid: LXD was last seen working on it
	under      map[int]bool      // by uid: a step is under way
	failed     map[int]failure   // by uid
	naps       map[int]nap       // by uid: of those that nap
	reclaiming bool              // of one webspace at a time
	stats      Stats
}

// failure of a step: it is not tried again before.
type failure struct {
	times  int
	before time.Time
}

// Stats say how it goes.
type Stats struct {
	Looks   uint64
	Err     error // of the last look; nil: it saw everything
	Memory  Memory
	Short   string // why memory is short; "": it is not
	Stuck   bool   // memory is short, and nobody may be put to sleep
	Steps   int    // under way now
	Watched int    // webspaces with a policy
	// Reclaimed is how many bytes of napping webspaces' memory were taken back, ever.
	Reclaimed int64
	Napping   int
	NoReclaim error // why none is taken back, though it should be; nil: it can be, or should not
}

// Parts are what a Keeper works with.
type Parts struct {
	// Local gives what was last heard of this node's webspaces. It must not block.
	Local func() []webspace.Instance
	LXD   LXD
	Plane Plane
	Power Power
	Gauge Gauge  // nil: /proc
	Holds *Holds // nil: nobody holds
	// Sockets gives a running webspace's live connections without the dataplane, as Sockets.Flows does; nil: there is
	// no way to, and what the dataplane has not followed from the beginning stays awake.
	Sockets func(name string) ([]dataplane.Flow, error)
	// Reclaim takes memory of a napping webspace back, as Groups.Reclaim does; nil: nobody can. NoReclaim is why it never will.
	Reclaim   func(ctx context.Context, name string) (int64, error)
	NoReclaim error
	Log       *slog.Logger
}

// New makes a Keeper.
func New(o Options, p Parts) *Keeper {
	if p.Log == nil {
		p.Log = slog.New(slog.DiscardHandler)
	}
	if p.Gauge == nil {
		p.Gauge = Proc{}
	}
	if p.Holds == nil {
		p.Holds = &Holds{}
	}
	k := &Keeper{o: o.withDefaults(), local: p.Local, lxd: p.LXD, plane: p.Plane, power: p.Power, gauge: p.Gauge,
		holds: p.Holds, sockets: p.Sockets, reclaim: p.Reclaim, log: p.Log,
		busy: make(map[int]time.Time), under: make(map[int]bool), failed: make(map[int]failure), naps: make(map[int]nap)}
	if p.NoReclaim != nil && o.ReclaimAfter > 0 {
		k.noReclaim(p.NoReclaim)
	}
	return k
}

// Stats returns a copy.
func (k *Keeper) Stats() Stats {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.stats
	s.Steps, s.Napping = len(k.under), len(k.naps)
	return s
}

// Run looks around until ctx ends, and returns nil then. Steps that are under way are ended first.
func (k *Keeper) Run(ctx context.Context) error {
	defer k.steps.Wait()
	for {
		next := k.o.Check
		if short := k.look(ctx); short {
			next = k.o.Hurry
		}
		t := time.NewTimer(next)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-t.C:
		}
	}
}

// look sees what there is and begins what is due. short: memory is.
func (k *Keeper) look(ctx context.Context) (short bool) {
	now := time.Now()
	list, err := k.see()
	memory, memErr := k.gauge.Memory()
	why, short := "", false
	if memErr == nil {
		why, short = k.o.Pressure.short(memory)
	}
	if err == nil {
		k.lookAtNaps(ctx, list, now)
	}
	begun := 0
	var ops map[string][]webspace.Operation
	if err == nil && (short || wanting(list, now)) {
		if ops, err = k.operations(ctx, list); err == nil {
			list = k.withHeld(list)
			if short {
				begun = k.pressed(ctx, list, ops, why, now)
			}
			for _, s := range idle(list, now) {
				k.begin(ctx, s, ops, k.o.Grace)
			}
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil {
		err = memErr
	}
	k.stats.Looks++
	if text(err) != text(k.stats.Err) {
		if err != nil && ctx.Err() == nil {
			k.log.Warn("cannot see who is idle; nobody is put to sleep", "err", err)
		}
	}
	stuck := short && begun == 0 && len(k.under) == 0
	if stuck && !k.stats.Stuck {
		k.log.Warn("memory is short, and no webspace may be put to sleep", "why", why)
	}
	k.stats.Err, k.stats.Memory, k.stats.Short, k.stats.Stuck = err, memory, why, stuck
	k.stats.Watched = 0
	for _, s := range list {
		if s.NapAfter > 0 || s.SleepAfter > 0 {
			k.stats.Watched++
		}
	}
	return short
}

// pressed begins one step for want of memory, unless one is under way: what it frees decides about the next.
func (k *Keeper) pressed(ctx context.Context, list []Seen, ops map[string][]webspace.Operation, why string, now time.Time) (begun int) {
	k.mu.Lock()
	under := len(k.under)
	k.mu.Unlock()
	if under > 0 {
		return 0
	}
	for _, s := range pressed(list, why, now) {
		if k.begin(ctx, s, ops, k.o.ShortGrace) {
			return 1
		}
	}
	return 0
}

// see puts together what is known without asking LXD.
func (k *Keeper) see() ([]Seen, error) {
	activity, err := k.plane.Activity()
	if err != nil {
		return nil, err
	}
	instances := k.local()
	list := make([]Seen, 0, len(instances))
	for _, i := range instances {
		if i.RecordErr == nil && i.Record.Address.IsValid() && i.Purpose == "" {
			list = append(list, seen(i, activity[i.Record.Address]))
		}
	}
	return k.withHeld(list), nil
}

func seen(i webspace.Instance, a dataplane.Activity) Seen {
	p := i.Record.Config.Idle
	return Seen{UID: i.UID, Name: i.Name, Addr: i.Record.Address, Status: i.Status, NapAfter: p.NapAfter, SleepAfter: p.SleepAfter,
		OOMSkip: p.OOMSkip || i.OOMSkip, Started: i.Started, LastPacket: a.LastPacket, FlowsKnown: a.FlowsKnown, HeldUntil: i.HeldUntil}
}

// withHeld fills in when each was last held awake, and forgets what is of webspaces that are gone.
func (k *Keeper) withHeld(list []Seen) []Seen {
	here := make(map[int]bool, len(list))
	for _, s := range list {
		here[s.UID] = true
	}
	released := k.holds.released(func(uid int) bool { return here[uid] })
	k.mu.Lock()
	defer k.mu.Unlock()
	maps.DeleteFunc(k.busy, func(uid int, _ time.Time) bool { return !here[uid] })
	maps.DeleteFunc(k.failed, func(uid int, _ failure) bool { return !here[uid] })
	for n, s := range list {
		list[n].LastHeld = latest(released[s.UID], k.busy[s.UID])
	}
	return list
}

// operations asks LXD what it is doing, and notes whom that holds awake.
func (k *Keeper) operations(ctx context.Context, list []Seen) (map[string][]webspace.Operation, error) {
	ops, err := k.lxd.Operations(ctx)
	if err != nil {
		return nil, err
	}
	by := make(map[string][]webspace.Operation)
	for _, op := range ops {
		by[op.Instance] = append(by[op.Instance], op)
	}
	now := time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range list {
		if len(by[s.Name]) > 0 && !k.under[s.UID] { // our own stop is an operation too
			k.busy[s.UID] = now
		}
	}
	return by, nil
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
