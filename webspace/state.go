package webspace

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	incus "github.com/lxc/incus/client"
	"github.com/lxc/incus/shared/api"
)

// State is what a webspace is doing and using.
type State struct {
	Status     Status // Running, Stopped, Frozen, ...
	Running    bool   // it has processes, napping or not
	Uptime     time.Duration
	CPU        time.Duration    // used so far
	Memory     int64            // bytes
	Disks      map[string]int64 // bytes by device; those of unknown usage are left out, but root is always there
	Processes  int64
	Interfaces map[string]Interface // without lo; empty unless running
}

// Interface of a webspace, as seen from inside.
type Interface struct {
	MAC       string
	MTU       int
	State     string // up or down
	Counters  Counters
	Addresses []InterfaceAddress
}

// Counters of an interface.
type Counters struct {
	BytesReceived, BytesSent, PacketsReceived, PacketsSent int64
}

// InterfaceAddress is an address of an interface.
type InterfaceAddress struct {
	Family  string // inet or inet6
	Address string
	Netmask string // length of the prefix
	Scope   string // global, link or local
}

// Sample is what a webspace used up to a moment. CPU, Received and Sent start anew with each boot.
type Sample struct {
	Time           time.Time
	UID            int
	Status         Status
	CPU            time.Duration
	Memory         int64 // bytes
	Processes      int64
	Received, Sent int64 // bytes, seen from the webspace
}

// global says whether some interface has an IPv4 address that others can reach.
func (s State) global() bool {
	for _, n := range s.Interfaces {
		for _, a := range n.Addresses {
			if a.Family == "inet" && a.Scope == "global" {
				return true
			}
		}
	}
	return false
}

// State asks LXD what an instance is doing; Uptime is not filled in.
func (s *Store) State(ctx context.Context, name string) (State, error) {
	path, err := s.path(name)
	if err != nil {
		return State{}, err
	}
	var raw api.InstanceState
	if _, err := s.get(ctx, "read the state of webspace "+name, path+"/state", nil, &raw); err != nil {
		return State{}, err
	}
	return state(&raw), nil
}

func state(raw *api.InstanceState) State {
	st := State{
		Status: Status(raw.Status), CPU: time.Duration(max(0, raw.CPU.Usage)), Memory: max(0, raw.Memory.Usage), Processes: max(0, raw.Processes),
		Disks: map[string]int64{"root": 0}, Interfaces: make(map[string]Interface),
	}
	st.Running = Instance{Status: st.Status}.Active()
	for name, d := range raw.Disk {
		if d.Usage >= 0 {
			st.Disks[name] = d.Usage
		}
	}
	for name, n := range raw.Network {
		if name == "lo" {
			continue
		}
		in := Interface{
			MAC: n.Hwaddr, MTU: n.Mtu, State: n.State, Addresses: []InterfaceAddress{},
			Counters: Counters{n.Counters.BytesReceived, n.Counters.BytesSent, n.Counters.PacketsReceived, n.Counters.PacketsSent},
		}
		for _, a := range n.Addresses {
			in.Addresses = append(in.Addresses, InterfaceAddress{a.Family, a.Address, a.Netmask, a.Scope})
		}
		st.Interfaces[name] = in
	}
	return st
}

func (s State) sample(uid int, at time.Time) Sample {
	x := Sample{Time: at, UID: uid, Status: s.Status, CPU: s.CPU, Memory: s.Memory, Processes: s.Processes}
	for _, n := range s.Interfaces {
		x.Received += n.Counters.BytesReceived
		x.Sent += n.Counters.BytesSent
	}
	return x
}

// State asks LXD what a webspace is doing. It does not disturb one that is napping.
func (s *Service) State(ctx context.Context, uid int) (State, error) {
	i, err := s.Get(ctx, uid)
	if err != nil {
		return State{}, err
	}
	st, err := s.store.State(ctx, i.Name)
	if errors.Is(err, ErrNotFound) {
		return State{}, s.notFound(uid, err)
	}
	st.Uptime = uptime(i, time.Now())
	if !st.Running {
		st.Uptime = 0
	}
	return st, err
}

// Sample of one webspace.
func (s *Service) Sample(ctx context.Context, uid int) (Sample, error) {
	st, err := s.store.State(ctx, s.store.Name(uid))
	if errors.Is(err, ErrNotFound) {
		return Sample{}, s.notFound(uid, err)
	}
	if err != nil {
		return Sample{}, err
	}
	return st.sample(uid, time.Now()), nil
}

// Samples of all webspaces of the cluster. They are asked one by one, several at a time: one whose container is stuck holds
// up LXD's answer about all of them, and is left out here.
func (s *Service) Samples(ctx context.Context) ([]Sample, error) {
	list, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]Sample, len(list))
	ok := make([]bool, len(list))
	var g errgroup.Group
	g.SetLimit(8)
	for n, i := range list {
		if !i.Active() { // it uses nothing, and LXD need not be asked
			out[n], ok[n] = Sample{Time: time.Now(), UID: i.UID, Status: i.Status}, i.Status == Stopped
			continue
		}
		g.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, sampleTime)
			defer cancel()
			st, err := s.store.State(ctx, i.Name)
			out[n], ok[n] = st.sample(i.UID, time.Now()), err == nil
			return nil
		})
	}
	_ = g.Wait()
	samples := make([]Sample, 0, len(list))
	for n := range out {
		if ok[n] {
			samples = append(samples, out[n])
		}
	}
	return samples, ctx.Err()
}

// sampleTime is how long LXD may take to say what one webspace uses.
const sampleTime = 10 * time.Second

// MaxLog is the most that ConsoleLog returns, bytes.
const MaxLog = 1 << 20

// ConsoleLog is what the console showed last: at most MaxLog bytes, the newest.
func (s *Service) ConsoleLog(ctx context.Context, uid int) ([]byte, error) {
	i, err := s.Get(ctx, uid)
	if err != nil {
		return nil, err
	}
	return s.store.consoleLog(ctx, i.Name)
}

// ClearConsoleLog empties it.
func (s *Service) ClearConsoleLog(ctx context.Context, uid int) error {
	i, err := s.Get(ctx, uid)
	if err != nil {
		return err
	}
	path, err := s.store.path(i.Name)
	if err != nil {
		return err
	}
	_, _, err = s.store.request(ctx, userAgent, "clear the console log of webspace "+i.Name, "DELETE", path+"/console", nil, nil, "")
	if errors.Is(err, ErrNotFound) {
		return nil // there is none
	}
	return err
}

func (s *Store) consoleLog(ctx context.Context, name string) ([]byte, error) {
	what := "read the console log of webspace " + name
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	c, err := s.client(ctx, userAgent)
	if err != nil {
		return nil, s.failed(what, err)
	}
	body, err := c.UseProject(s.o.Project).GetInstanceConsoleLog(name, &incus.InstanceConsoleLogArgs{})
	if err != nil {
		if p := s.failed(what, err); !errors.Is(p, ErrNotFound) && !strings.Contains(err.Error(), "no such file") {
			return nil, p
		}
		return nil, nil // never started, or cleared: there is none
	}
	stop := context.AfterFunc(ctx, func() { _ = body.Close() })
	defer stop()
	defer body.Close()
	var last []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := body.Read(buf)
		if last = append(last, buf[:n]...); len(last) > 2*MaxLog {
			last = append(last[:0], last[len(last)-MaxLog:]...)
		}
		if err == io.EOF {
			return last[max(0, len(last)-MaxLog):], nil
		}
		if err != nil {
			return nil, s.failed(what, errors.Join(err, ctx.Err()))
		}
	}
}
