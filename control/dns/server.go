package dns

import (
	"context"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

const (
	// checkEvery is how often the server looks whether its interface is still the same one.
	checkEvery = 2 * time.Second
	retryMin   = 200 * time.Millisecond
	retryMax   = 10 * time.Second
)

// Server answers queries. Make one with New, tell it with SetRecords, and let it Run.
type Server struct {
	config    Config
	log       *slog.Logger
	start     time.Time
	counts    counts
	cache     *cache
	limits    *limits
	upstreams []*upstream
	flights   flights
	attempts  []time.Duration
	running   atomic.Bool

	lan, lanMask, gateway uint32
	own                   []uint32

	zoneMu   sync.Mutex // one SetRecords at a time
	records  []Record
	zone     atomic.Pointer[zone]
	problems atomic.Pointer[[]error]
	loaded   chan struct{} // closed by the first SetRecords

	nodes atomic.Pointer[[]netip.Addr]

	bound atomic.Pointer[netip.AddrPort] // where it listens, for tests
}

// New checks the configuration and makes a server that knows the static plan only: until SetRecords, names of the zone
// that it does not know are "not ready", not absent.
func New(config Config, log *slog.Logger) (*Server, error) {
	if err := config.check(); err != nil {
		return nil, err
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Server{config: config, log: log, start: time.Now(), cache: newCache(config.Cache), limits: newLimits(&config), attempts: attemptTimes, loaded: make(chan struct{})}
	s.flights.byKey = make(map[string]*flight)
	for _, u := range config.Upstreams {
		s.upstreams = append(s.upstreams, newUpstream(u))
	}
	s.lan, s.gateway = hostOrder(config.Prefix.Addr()), hostOrder(config.Gateway)
	s.lanMask = ^uint32(0) << (32 - config.Prefix.Bits())
	for _, a := range config.Own {
		if a.Unmap().Is4() {
			s.own = append(s.own, hostOrder(a))
		}
	}
	z, bad := newZone(&s.config, nil, false, time.Now())
	s.zone.Store(z)
	s.problems.Store(&bad)
	s.nodes.Store(&[]netip.Addr{})
	return s, nil
}

// SetRecords replaces what the zone has. Bad ones are left out: see Problems. It may be called at any time, also while
// Run runs.
func (s *Server) SetRecords(list []Record) {
	s.zoneMu.Lock()
	defer s.zoneMu.Unlock()
	if s.zone.Load().loaded && slices.Equal(s.records, list) {
		return // the serial of the zone stays
	}
	if !s.zone.Load().loaded {
		defer close(s.loaded)
	}
	s.records = slices.Clone(list)
	z, bad := newZone(&s.config, s.records, true, time.Now())
	s.zone.Store(z)
	s.problems.Store(&bad)
}

// SetNodes replaces the addresses of other nodes that no name outside may have (DNS rebinding). It may be called at any time.
func (s *Server) SetNodes(list []netip.Addr) {
	list = slices.Clone(list)
	s.nodes.Store(&list)
}

// Problems says which of the records are bad, one error each.
func (s *Server) Problems() []error { return *s.problems.Load() }

// Records counts the names of the zone.
func (s *Server) Records() int { return s.zone.Load().hosts }

// Running says whether the server listens now.
func (s *Server) Running() bool { return s.running.Load() }

// now counts nanoseconds of a clock that nobody sets.
func (s *Server) now() int64 { return int64(time.Since(s.start)) }

// Run answers until ctx ends, and then returns nil. Sockets that cannot be opened are tried again. Without records it waits
// for them first, for as long as the configuration says: queries wait in a socket that was kept, which is better than to be
// told that the zone is not ready.
func (s *Server) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
	case <-s.loaded:
	case <-time.After(s.config.Settle):
	}
	wait := retryMin
	for ctx.Err() == nil {
		began := time.Now()
		err := s.serve(ctx)
		if ctx.Err() != nil {
			break
		}
		if time.Since(began) > retryMax {
			wait = retryMin
		}
		s.log.Warn("dns: not listening, trying again", "address", s.config.Listen, "err", err, "in", wait)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, retryMax)
	}
	return nil
}

// serve answers until a socket fails or ctx ends.
func (s *Server) serve(ctx context.Context) error {
	socks, err := s.open()
	if err != nil {
		return err
	}
	defer socks.close()
	end, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("eventfd", err)
	}
	defer unix.Close(end)
	g, ctx := errgroup.WithContext(ctx)
	s.flights.begin(ctx)
	defer s.flights.end()
	g.Go(func() error { return s.serveUDP(ctx, socks.udp, end) })
	g.Go(func() error { return s.serveTCP(ctx, socks.tcp) })
	g.Go(func() error { return s.follow(ctx, socks) })
	for _, u := range s.upstreams {
		g.Go(func() error { s.watch(ctx, u); return nil })
	}
	at := socks.udp.addr()
	s.bound.Store(&at)
	s.running.Store(true)
	defer s.running.Store(false)
	s.log.Info("dns: listening", "address", at, "zone", s.config.Zone, "upstreams", len(s.upstreams), "inherited", socks.inherited)
	// What waits in the sockets when this ends is for who takes them over.
	stop := context.AfterFunc(ctx, func() {
		_, _ = unix.Write(end, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // stays readable: nobody reads it
		_ = socks.tcp.SetDeadline(time.Unix(1, 0))
	})
	defer stop()
	return g.Wait()
}

func (f *flights) begin(ctx context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.base = ctx
}

// end waits for all flights, whose context has ended.
func (f *flights) end() {
	f.mu.Lock()
	f.base = nil
	f.mu.Unlock()
	f.all.Wait()
}

// follow keeps the sockets bound to the interface, which may be made anew, and reads what the kernel dropped.
func (s *Server) follow(ctx context.Context, socks *sockets) error {
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := socks.guard(s.config.Interface); err != nil {
			return err
		}
		if n := socks.lost(); n > 0 {
			s.counts.drops[slices.Index(Drops, DropKernel)].Add(n)
		}
	}
}

// logQuery writes a line, where that is asked for.
func (s *Server) logQuery(q *query, w who, from source, code rcode) {
	if !s.config.Log {
		return
	}
	client := "node"
	if w >= 0 {
		ip := s.lan | uint32(w)
		client = netip.AddrFrom4([4]byte{byte(ip >> 24), byte(ip >> 16), byte(ip >> 8), byte(ip)}).String()
	}
	s.log.Info("dns: query", "client", client, "name", presentation(q.name()), "type", q.qtype, "from", sourceNames[from], "code", code)
}

// presentation writes a name for people; octets that are no letters, digits or dashes as \DDD (RFC 1035, section 5.1).
func presentation(name []byte) string {
	var out []byte
	for off := 0; off < len(name) && name[off] != 0; off += 1 + int(name[off]) {
		for _, c := range name[off+1 : off+1+int(name[off])] {
			if c == '-' || c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' {
				out = append(out, c)
			} else {
				out = append(out, '\\', '0'+c/100, '0'+c/10%10, '0'+c%10)
			}
		}
		out = append(out, '.')
	}
	if len(out) == 0 {
		return "."
	}
	return string(out)
}
