package dataplane

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Frame is a parked frame: one that arrived for an endpoint which cannot take it now, with the addresses that its
// webspace will see (a forward's destination is translated already).
type Frame struct {
	Data     []byte // from the Ethernet header on, checksums complete. It is hostile, and the receiver's to keep
	Time     time.Time
	Owner    string     // the webspace
	IP       netip.Addr // its address
	Peer     netip.Addr // who sent it
	Proto    Proto
	Port     uint16 // of the webspace; 0 for ICMP and later fragments
	PeerPort uint16
	// Unverified marks a SYN that was answered with a challenge (WakeVerified): EventVerified follows when its sender is real.
	Unverified bool
}

// Parking is where frames for sleeping webspaces come out, and go in again.
type Parking struct{ d *Dataplane }

// Parking gives the node's parking.
func (d *Dataplane) Parking() *Parking { return &Parking{d} }

// Read calls f for every parked frame until ctx ends, and then returns nil. There is one reader at a time; what is parked
// while there is none is lost, as on a wire. f must be quick: the queue behind it is a few thousand frames.
func (p *Parking) Read(ctx context.Context, f func(Frame)) error {
	ctx, leave, err := p.d.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	buf := make([]byte, vnetHeader+1<<16)
	for first := true; ctx.Err() == nil; first = false {
		file := p.d.tap.current()
		if file == nil {
			return errClosed
		}
		if first {
			flush(file, buf)
		}
		err := p.read(ctx, file, buf, f)
		if ctx.Err() != nil {
			return nil
		}
		if file == p.d.tap.current() {
			// The device is gone; the next resync makes it anew.
			p.d.log.Debug("the parking device cannot be read", "err", err)
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
	return nil
}

// flush throws away what gathered while nobody read.
func flush(file *os.File, buf []byte) {
	file.SetReadDeadline(time.Unix(1, 0))
	if c, err := file.SyscallConn(); err == nil {
		c.Read(func(fd uintptr) bool {
			for range 2 * tapQueue {
				if _, err := unix.Read(int(fd), buf); err != nil {
					break
				}
			}
			return true
		})
	}
	file.SetReadDeadline(time.Time{})
}

// read reads one device until that fails or ctx ends.
func (p *Parking) read(ctx context.Context, file *os.File, buf []byte, f func(Frame)) error {
	stop := context.AfterFunc(ctx, func() { file.SetReadDeadline(time.Unix(1, 0)) })
	defer func() {
		if !stop() {
			file.SetReadDeadline(time.Time{})
		}
	}()
	for {
		n, err := file.Read(buf)
		if err != nil {
			return err
		}
		if frame, ok := p.d.frame(buf[:n]); ok {
			f(frame)
		}
	}
}

// Inject sends a frame on: one *to* an endpoint (as it was parked) is delivered to its port, in whatever life that is, or
// through the tunnel when it has moved; one *from* a local endpoint (an answer in its name) goes the way its own would. It
// does not block. A frame for an endpoint without a port is counted and dropped.
func (p *Parking) Inject(frame []byte) error {
	if len(frame) < ethernetHeader {
		return fmt.Errorf("a frame of %d bytes cannot be sent on: it has no Ethernet header", len(frame))
	}
	file := p.d.tap.current()
	if file == nil {
		return errClosed
	}
	if _, err := file.Write(append(make([]byte, vnetHeader, vnetHeader+len(frame)), frame...)); err != nil {
		return fmt.Errorf("send a parked frame on: %w", err)
	}
	return nil
}
