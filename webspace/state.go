package webspace

import (
	"context"
	"time"
)

// State is what a webspace is doing and using.
type State struct {
	Status     Status // Running, Stopped, Frozen, ...
	Running    bool   // it has processes, napping or not
	Uptime     time.Duration
	CPU        time.Duration    // used so far
	Memory     int64            // bytes
	Disks      map[string]int64 // bytes by device; those of unknown usage are left out
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

// State asks LXD what a webspace is doing. It does not disturb one that is napping.
func (s *Service) State(ctx context.Context, uid int) (State, error) { panic("skeleton") }

// Sample of one webspace.
func (s *Service) Sample(ctx context.Context, uid int) (Sample, error) { panic("skeleton") }

// Samples of all webspaces of the cluster in one request, which costs LXD some 6 ms per running one.
func (s *Service) Samples(ctx context.Context) ([]Sample, error) { panic("skeleton") }

// ConsoleLog is what the console showed last: at most MaxLog bytes, the newest.
func (s *Service) ConsoleLog(ctx context.Context, uid int) ([]byte, error) { panic("skeleton") }

// MaxLog is the most that ConsoleLog returns, bytes.
const MaxLog = 1 << 20

// ClearConsoleLog empties it.
func (s *Service) ClearConsoleLog(ctx context.Context, uid int) error { panic("skeleton") }
