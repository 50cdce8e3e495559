package dhcp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

const (
	// checkEvery is how often the server looks whether its interface is still the same one.
	checkEvery = 2 * time.Second
	retryMin   = 200 * time.Millisecond
	retryMax   = 10 * time.Second
	// biggestFrame is more than any message that a client may send; longer frames are cut and dropped as short.
	biggestFrame = 4096
)

// Server answers DHCP requests. Make one with New, tell it with SetReservations, and let it Run.
type Server struct {
	config     Config
	gatewayMAC [6]byte
	nodeMAC    [6]byte
	log        *slog.Logger
	counts     *counts
	running    atomic.Bool

	tableMu sync.Mutex // one SetReservations at a time
	table   atomic.Pointer[table]

	problems atomic.Pointer[[]error]
}

// New checks the configuration and makes a server without reservations.
func New(config Config, log *slog.Logger) (*Server, error) {
	if err := config.check(); err != nil {
		return nil, err
	}
	s := &Server{config: config, log: log, counts: newCounts()}
	s.gatewayMAC, _ = mac6(config.GatewayMAC)
	s.nodeMAC, _ = mac6(config.NodeMAC)
	s.table.Store(&table{})
	s.problems.Store(&[]error{})
	return s, nil
}

// SetReservations replaces what is served. Bad ones are left out: see Problems. It may be called at any time, also
// while Run runs.
func (s *Server) SetReservations(list []Reservation) {
	s.tableMu.Lock()
	defer s.tableMu.Unlock()
	t, bad := newTable(list, s.config.Prefix, *s.table.Load())
	s.table.Store(&t)
	s.problems.Store(&bad)
}

// Problems says which of the reservations are bad, one error each.
func (s *Server) Problems() []error { return *s.problems.Load() }

// Reservations counts what is served.
func (s *Server) Reservations() int { return len(*s.table.Load()) }

// Stats counts messages since New.
func (s *Server) Stats() Stats { return s.counts.snapshot() }

// Running says whether the server listens now.
func (s *Server) Running() bool { return s.running.Load() }

// Run answers until ctx ends, and then returns nil. An interface that is not there yet, goes away or is replaced is
// waited for.
func (s *Server) Run(ctx context.Context) error {
	wait := retryMin
	for ctx.Err() == nil {
		began := time.Now()
		err := s.listen(ctx)
		if ctx.Err() != nil {
			break
		}
		if time.Since(began) > retryMax {
			wait = retryMin
		}
		s.log.Warn("dhcp: not listening, trying again", "interface", s.config.Interface, "err", err, "in", wait)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, retryMax)
	}
	return nil
}

// listen serves until the interface fails or ctx ends.
func (s *Server) listen(ctx context.Context) error {
	socks, err := openSockets(s.config.Interface)
	if err != nil {
		return err
	}
	defer socks.close()
	stop := context.AfterFunc(ctx, func() { _ = socks.in.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	s.running.Store(true)
	defer s.running.Store(false)
	s.log.Info("dhcp: listening", "interface", s.config.Interface, "gateway", s.config.Gateway)

	buf := make([]byte, biggestFrame)
	next := time.Now().Add(checkEvery)
	_ = socks.in.SetReadDeadline(next)
	for ctx.Err() == nil {
		n, _, err := socks.in.ReadFrom(buf)
		if err == nil {
			s.handle(socks, buf[:n])
		} else if !errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("read: %w", err)
		}
		if now := time.Now(); now.After(next) {
			s.counts.dropped(DropKernel, socks.lost())
			if ifi, err := net.InterfaceByName(s.config.Interface); err != nil || ifi.Index != socks.index {
				return fmt.Errorf("the interface %s was removed or replaced", s.config.Interface)
			}
			next = now.Add(checkEvery)
			_ = socks.in.SetReadDeadline(next)
		}
	}
	return nil
}

func (s *Server) handle(socks *sockets, frame []byte) {
	a := s.serve(*s.table.Load(), frame, time.Now())
	if kind, ok := kinds[a.message]; ok && a.entry != nil {
		s.counts.received(kind)
	}
	if a.drop == "" && a.frame != nil {
		if err := socks.send(a.ifindex, a.frame); err != nil {
			a.drop = DropSend
			s.log.Debug("dhcp: cannot answer", "mac", a.entry.MAC.String(), "ifindex", a.ifindex, "err", err)
		} else {
			s.counts.sent(a.kind)
			if a.kind == "ack" {
				s.config.Acked(a.entry.IP)
			}
			s.log.Debug("dhcp: answered", "mac", a.entry.MAC.String(), "ip", a.entry.IP, "kind", a.kind)
		}
	}
	if a.drop != "" {
		s.counts.dropped(a.drop, 1)
		s.log.Debug("dhcp: dropped a message", "reason", string(a.drop))
	}
	if a.message == dhcpv4.MessageTypeDecline && a.drop == "" {
		// The rate limit of the port bounds these lines as well.
		s.log.Warn("dhcp: a webspace found its address in use by somebody else", "mac", a.entry.MAC.String(), "ip", a.entry.IP)
	}
}
