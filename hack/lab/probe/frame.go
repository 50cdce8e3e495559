package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"flag"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// packetSocket opens an AF_PACKET socket on an interface; proto in host order, 0 receives nothing.
func packetSocket(name string, proto uint16) (int, error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return 0, err
	}
	be := proto<<8 | proto>>8
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(be))
	if err != nil {
		return 0, fmt.Errorf("packet socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: be, Ifindex: i.Index}); err != nil {
		unix.Close(fd)
		return 0, fmt.Errorf("bind to %s: %w", name, err)
	}
	return fd, nil
}

type sendResult struct{ Sent, Errors int }

// send puts raw frames (hexadecimal, from the Ethernet header on) on the wire as they are.
func send(ctx context.Context, args []string) (any, error) {
	f := flag.NewFlagSet("send", flag.ContinueOnError)
	name := f.String("iface", "eth0", "interface")
	count := f.Int("count", 1, "how often")
	interval := f.Duration("interval", 0, "between frames")
	if err := parse(f, args, 1); err != nil {
		return nil, err
	}
	frame, err := hex.DecodeString(f.Arg(0))
	if err != nil {
		return nil, err
	}
	fd, err := packetSocket(*name, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var r sendResult
	for range *count {
		if _, err := unix.Write(fd, frame); err != nil {
			r.Errors++
		} else {
			r.Sent++
		}
		if ctx.Err() != nil {
			break
		}
		time.Sleep(*interval)
	}
	return r, nil
}

type sniffResult struct {
	Frames int      // that matched
	Hex    []string // the first of them, at most 5
}

// sniff counts arriving frames that contain a pattern.
func sniff(ctx context.Context, args []string) (any, error) {
	f := flag.NewFlagSet("sniff", flag.ContinueOnError)
	name := f.String("iface", "eth0", "interface")
	duration := f.Duration("for", 2*time.Second, "how long")
	match := f.String("match", "", "hexadecimal pattern anywhere in the frame")
	if err := parse(f, args, 0); err != nil {
		return nil, err
	}
	want, err := hex.DecodeString(*match)
	if err != nil {
		return nil, err
	}
	fd, err := packetSocket(*name, unix.ETH_P_ALL)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}); err != nil {
		return nil, err
	}
	ready()
	var r sniffResult
	buf := make([]byte, 65536)
	for end := time.Now().Add(*duration); time.Now().Before(end) && ctx.Err() == nil; {
		n, from, err := unix.Recvfrom(fd, buf, 0)
		if err != nil {
			continue // the timeout
		}
		if ll, ok := from.(*unix.SockaddrLinklayer); ok && ll.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		if bytes.Contains(buf[:n], want) {
			r.Frames++
			if len(r.Hex) < 5 {
				r.Hex = append(r.Hex, hex.EncodeToString(buf[:n]))
			}
		}
	}
	return r, nil
}

type flowsResult struct{ Sent, Answered, Errors int }

// flows opens many UDP flows to one server, one datagram each from an own source port, and counts the answers.
func flows(ctx context.Context, args []string) (any, error) {
	f := flag.NewFlagSet("flows", flag.ContinueOnError)
	count := f.Int("count", 1000, "how many")
	wait := f.Duration("wait", 300*time.Millisecond, "for answers at the end")
	hold := f.Duration("hold", 0, "keep the sockets open that long")
	if err := parse(f, args, 1); err != nil {
		return nil, err
	}
	limit := unix.Rlimit{Cur: uint64(*count) + 100, Max: uint64(*count) + 100}
	_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	var r flowsResult
	var open []net.Conn
	for n := range *count {
		c, err := net.Dial("udp", f.Arg(0))
		if err != nil {
			r.Errors++
			continue
		}
		defer c.Close()
		open = append(open, c)
		if _, err := c.Write([]byte("x")); err != nil {
			r.Errors++
			continue
		}
		r.Sent++
		if n%50 == 49 {
			time.Sleep(2 * time.Millisecond) // the server's buffer is small
		}
	}
	// What that buffer lost after all is asked for again.
	for round := range 3 {
		silent := open[:0]
		for n, c := range open {
			if round > 0 {
				_, _ = c.Write([]byte("x"))
				if n%50 == 49 {
					time.Sleep(2 * time.Millisecond)
				}
			}
		}
		time.Sleep(*wait / 3)
		for _, c := range open {
			if arrived(c) {
				r.Answered++
			} else {
				silent = append(silent, c)
			}
		}
		open = silent
	}
	ready()
	select {
	case <-time.After(*hold):
	case <-ctx.Done():
	}
	return r, nil
}

// arrived says whether a datagram is there, without waiting for one.
func arrived(c net.Conn) bool {
	raw, err := c.(*net.UDPConn).SyscallConn()
	if err != nil {
		return false
	}
	got := false
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_DONTWAIT)
		got = err == nil
		return true
	})
	return err == nil && got
}
