package main

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

type pingResult struct {
	Sent, Received, Lost, Duplicates int
	Errors                           int     // of sending
	MaxRTT                           float64 // ms
	LostAt                           []int   // sequence numbers, at most 20
}

// ping sends ICMP echo requests (RFC 792) at a fixed pace and counts what comes back, in the manner of ping -i, but
// below its floor and with an exact account.
func ping(ctx context.Context, args []string) (any, error) {
	f := flag.NewFlagSet("ping", flag.ContinueOnError)
	count := f.Int("count", 1000, "packets, at most 65535")
	interval := f.Duration("interval", 5*time.Millisecond, "between packets")
	wait := f.Duration("wait", time.Second, "for answers after the last")
	size := f.Int("size", 56, "bytes of payload")
	if err := parse(f, args, 1); err != nil {
		return nil, err
	}
	if *count < 1 || *count > 65535 {
		return nil, fmt.Errorf("count %d", *count)
	}
	to, err := net.ResolveIPAddr("ip4", f.Arg(0))
	if err != nil {
		return nil, err
	}
	c, err := net.DialIP("ip4:icmp", nil, to)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	id := uint16(os.Getpid()) ^ uint16(time.Now().UnixNano()>>10)

	var mu sync.Mutex
	sent, seen := make([]time.Time, *count), make([]int, *count)
	var r pingResult
	received := make(chan struct{})
	go func() {
		defer close(received)
		buf := make([]byte, 65536)
		for {
			n, _, err := c.ReadFromIP(buf) // this one cuts the IP header off, Read does not
			if err != nil {
				return
			}
			if n < 8 || buf[0] != 0 || binary.BigEndian.Uint16(buf[4:]) != id {
				continue
			}
			seq := int(binary.BigEndian.Uint16(buf[6:]))
			mu.Lock()
			if seq < *count {
				seen[seq]++
				r.MaxRTT = max(r.MaxRTT, float64(time.Since(sent[seq]).Microseconds())/1000)
			}
			mu.Unlock()
		}
	}()
	ready()
	tick := time.NewTicker(*interval)
	defer tick.Stop()
	packet := make([]byte, 8+*size)
	for seq := range *count {
		packet[0], packet[1] = 8, 0
		binary.BigEndian.PutUint16(packet[4:], id)
		binary.BigEndian.PutUint16(packet[6:], uint16(seq))
		packet[2], packet[3] = 0, 0
		binary.BigEndian.PutUint16(packet[2:], checksum(packet))
		mu.Lock()
		sent[seq] = time.Now()
		mu.Unlock()
		if _, err := c.Write(packet); err != nil {
			r.Errors++
		}
		r.Sent++
		select {
		case <-tick.C:
			continue
		case <-ctx.Done():
		}
		break
	}
	time.Sleep(*wait)
	c.Close()
	<-received
	for seq, n := range seen[:r.Sent] {
		switch {
		case n == 0:
			r.Lost++
			if len(r.LostAt) < 20 {
				r.LostAt = append(r.LostAt, seq)
			}
		default:
			r.Received++
			r.Duplicates += n - 1
		}
	}
	return r, nil
}

// checksum is the Internet checksum (RFC 1071) of b, whose checksum field is zero.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(b[i])<<8 | uint32(b[i+1])
	}
	if len(b)%2 == 1 {
		sum += uint32(b[len(b)-1]) << 8
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
