package wake

import (
	"time"

	"github.com/lanyard-project/lanyard/webspace"
)

// Config bounds what waking may cost. Zero values have defaults, by withDefaults.
type Config struct {
	LAN   Nets // who is a neighbour and who is a node
	Times Times
	Hold  Bounds

	Starts       int // at the same time, default 4
	PerSource    int // webspaces that one source outside may wake in a minute, default 20
	PerWebspace  int // boots of one webspace in an hour by packets, default 60
	SourcesKnown int // of which budgets are kept, default 4096
	// Hurry, when it is there, is called while a webspace boots, and release afterwards.
	Hurry func(limit time.Duration) (release func())
	// Rule of webspaces that have none of their own, default any.
	Rule webspace.WakeRule
}

// hurryMost is for how long a boot may hurry: what takes longer waits for something else.
const hurryMost = 10 * time.Second

// Times are limits and pauses.
type Times struct {
	Start       time.Duration // LXD may take to start one, default 60 s
	Queue       time.Duration // a webspace may wait for its turn, default 60 s
	MaxStartup  time.Duration // upper bound of a webspace's own startupDelay, default 60 s
	LeastDelay  time.Duration // lower bound of it, default 1 s
	Stop        time.Duration // LXD may take beyond the grace of a stop, default 30 s
	Unverified  time.Duration // a SYN is kept whose sender has not proved that it is there, default 3 s
	Fast        time.Duration // after the carrier, the held SYN is repeated every RepeatFirst, default 3 s
	RepeatFirst time.Duration // default 2 ms
	RepeatMost  time.Duration // default 100 ms
	Pace        time.Duration // between two packets that are sent on, default 300 us
	RetryFirst  time.Duration // after a failed start, before the next packet may try again, default 1 s
	RetryMost   time.Duration // default 5 min
}

// Bounds are how much is held.
type Bounds struct {
	SYNs       int // of one webspace, default 512
	Datagrams  int // of one webspace, default 64
	Bytes      int // of one webspace, default 256 KiB
	NodeFrames int // of all, default 16384
	NodeBytes  int // of all, default 32 MiB
	Unverified int // SYNs of one webspace whose senders have proved nothing, default 128
}

func (c Config) withDefaults() Config {
	ints := func(p *int, d int) {
		if *p <= 0 {
			*p = d
		}
	}
	times := func(p *time.Duration, d time.Duration) {
		if *p <= 0 {
			*p = d
		}
	}
	ints(&c.Starts, 4)
	ints(&c.PerSource, 20)
	ints(&c.PerWebspace, 60)
	ints(&c.SourcesKnown, 4096)
	ints(&c.Hold.SYNs, 512)
	ints(&c.Hold.Datagrams, 64)
	ints(&c.Hold.Bytes, 256<<10)
	ints(&c.Hold.NodeFrames, 16384)
	ints(&c.Hold.NodeBytes, 32<<20)
	ints(&c.Hold.Unverified, 128)
	t := &c.Times
	times(&t.Start, time.Minute)
	times(&t.Queue, time.Minute)
	times(&t.MaxStartup, time.Minute)
	times(&t.LeastDelay, time.Second)
	times(&t.Stop, 30*time.Second)
	times(&t.Unverified, 3*time.Second)
	times(&t.Fast, 3*time.Second)
	times(&t.RepeatFirst, 2*time.Millisecond)
	times(&t.RepeatMost, 100*time.Millisecond)
	times(&t.Pace, 300*time.Microsecond)
	times(&t.RetryFirst, time.Second)
	times(&t.RetryMost, 5*time.Minute)
	if c.Rule.Policy == "" {
		c.Rule.Policy = webspace.WakeAny
	}
	return c
}
