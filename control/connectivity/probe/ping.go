package probe

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Pings is the outcome of some echo requests (RFC 792).
type Pings struct {
	Sent     int           `json:"sent"`
	Received int           `json:"received"`
	Median   time.Duration `json:"median_ns"`
	TooBig   bool          `json:"too_big"` // the kernel refused the size
}

const (
	ipHeader   = 20
	icmpHeader = 8
	pingWait   = time.Second
)

// ping sends count requests, one after the other, as IP packets of this size that must not be fragmented.
func ping(ctx context.Context, to netip.Addr, count, size int) (Pings, error) {
	var r Pings
	if count < 1 || count > 1000 || size < ipHeader+icmpHeader || size > 65535 {
		return r, fmt.Errorf("count %d or size %d is out of range", count, size)
	}
	c, err := net.DialIP("ip4:icmp", nil, &net.IPAddr{IP: to.AsSlice()})
	if err != nil {
		return r, err
	}
	defer c.Close()
	if err := dontFragment(c); err != nil {
		return r, err
	}
	id := uint16(os.Getpid())
	packet, buf := make([]byte, size-ipHeader), make([]byte, 65536)
	var times []time.Duration
	for seq := range count {
		if ctx.Err() != nil {
			break
		}
		clear(packet)
		packet[0] = 8
		binary.BigEndian.PutUint16(packet[4:], id)
		binary.BigEndian.PutUint16(packet[6:], uint16(seq))
		binary.BigEndian.PutUint16(packet[2:], checksum(packet))
		start := time.Now()
		r.Sent++
		if _, err := c.Write(packet); err != nil {
			if errors.Is(err, syscall.EMSGSIZE) {
				r.TooBig = true
				return r, nil
			}
			return r, err
		}
		if answered(c, buf, id, uint16(seq), start.Add(pingWait)) {
			r.Received++
			times = append(times, time.Since(start))
		}
	}
	if len(times) > 0 {
		slices.Sort(times)
		r.Median = times[len(times)/2]
	}
	return r, nil
}

func answered(c *net.IPConn, buf []byte, id, seq uint16, until time.Time) bool {
	_ = c.SetReadDeadline(until)
	for {
		n, _, err := c.ReadFromIP(buf) // without the IP header
		if err != nil {
			return false
		}
		if n >= icmpHeader && buf[0] == 0 && binary.BigEndian.Uint16(buf[4:]) == id && binary.BigEndian.Uint16(buf[6:]) == seq {
			return true
		}
	}
}

// dontFragment also ignores a path MTU learnt before: the packet goes out, or the first link refuses it.
func dontFragment(c *net.IPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE)
	})
	return errors.Join(err, set)
}

// checksum is the Internet checksum (RFC 1071) of b, whose own checksum field is zero.
func checksum(b []byte) uint16 {
	var sum uint32
	for len(b) >= 2 {
		sum += uint32(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
