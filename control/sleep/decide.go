package sleep

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/lanyard-project/lanyard/control/ledger"
	"github.com/lanyard-project/lanyard/webspace"
)

// Seen is what one look saw of a webspace on this node.
type Seen struct {
	UID        int
	Name       string
	Addr       netip.Addr
	Status     webspace.Status
	NapAfter   time.Duration // 0: never
	SleepAfter time.Duration // 0: never
	OOMSkip    bool
	Started    time.Time
	LastPacket time.Time // that counts as use; zero: none that the dataplane knows of
	FlowsKnown bool      // by the dataplane
	LastHeld   time.Time // when what held it awake was last there; zero: never
	HeldUntil  time.Time // somebody on another node works on it
}

// active says whether there is anything to put to sleep.
func (s Seen) active() bool { return s.Status == webspace.Running || s.Status == webspace.Frozen }

// LastUse is since when nobody has used it: its last packet, its start, or the end of what held it awake.
func (s Seen) LastUse() time.Time { return latest(s.LastPacket, s.Started, s.LastHeld) }

// untouched is LastUse without what a look has to ask for: it is never later.
func (s Seen) untouched() time.Time { return latest(s.LastPacket, s.Started) }

func latest(times ...time.Time) time.Time {
	return slices.MaxFunc(times, time.Time.Compare)
}

// Depth is how deep a webspace is put to sleep.
type Depth int

// The depths.
const (
	None   Depth = iota
	Nap          // frozen
	Asleep       // stopped
)

// depth is how deep a webspace should be after it was idle for so long.
func (s Seen) depth(idle time.Duration) Depth {
	switch {
	case !s.active():
	case s.SleepAfter > 0 && idle >= s.SleepAfter:
		return Asleep
	case s.NapAfter > 0 && idle >= s.NapAfter && s.Status == webspace.Running:
		return Nap
	}
	return None
}

// Due says when it naps and when it sleeps, if nothing happens; zero: never. It does not nap on the way when it would
// sleep as soon, or naps already.
func (s Seen) Due() (nap, asleep time.Time) {
	if !s.active() {
		return
	}
	if s.SleepAfter > 0 {
		asleep = s.LastUse().Add(s.SleepAfter)
	}
	if s.NapAfter > 0 && s.Status == webspace.Running && (s.SleepAfter == 0 || s.NapAfter < s.SleepAfter) {
		nap = s.LastUse().Add(s.NapAfter)
	}
	return nap, asleep
}

// Step is a decision: put this webspace to sleep so deep, for that cause.
type Step struct {
	Seen  Seen
	Depth Depth
	Cause ledger.Cause
}

// idle decides what is due by the webspaces' own policies, the idlest first. What keeps a webspace awake is not looked
// at here, but for each of these before anything is done.
func idle(list []Seen, now time.Time) []Step {
	var out []Step
	for _, s := range list {
		since := now.Sub(s.LastUse())
		d := s.depth(since)
		if d == None || s.HeldUntil.After(now) {
			continue
		}
		after := s.SleepAfter
		if d == Nap {
			after = s.NapAfter
		}
		out = append(out, Step{s, d, ledger.Cause{Via: ledger.Idle,
			Detail: fmt.Sprintf("idle for %v, its policy says %v", since.Round(time.Second), after)}})
	}
	byLastUse(out)
	return out
}

// wanting are the webspaces that would be due if nothing held them awake: those to ask LXD about.
func wanting(list []Seen, now time.Time) bool {
	return slices.ContainsFunc(list, func(s Seen) bool { return s.depth(now.Sub(s.untouched())) != None })
}

// Thresholds of memory pressure. Zero: that one is not looked at.
type Thresholds struct {
	MinFree uint64  // bytes available
	Stalled float64 // percent of the time that all processes wait for memory, of the last ten seconds
}

// plenty: above this part of memory being available, processes that wait for it are at limits of their own (one
// webspace at its limits.memory stalls a node that does nothing else), and another's sleep would help nobody.
const plenty = 0.2

// short says whether memory is short, and why.
func (t Thresholds) short(m Memory) (why string, short bool) {
	switch {
	case t.MinFree > 0 && m.Available < t.MinFree:
		return fmt.Sprintf("%d MiB of memory were available, fewer than %d", m.Available>>20, t.MinFree>>20), true
	case t.Stalled > 0 && m.PSI && m.Stalled >= t.Stalled && float64(m.Available) < plenty*float64(m.Total):
		return fmt.Sprintf("everything waited for memory for %.0f %% of ten seconds, and %d MiB were available", m.Stalled, m.Available>>20), true
	}
	return "", false
}

// youngest is how recently a webspace may have been used and still go to sleep for want of memory: without it, one that
// a packet has just woken would be the next to go.
const youngest = 10 * time.Second

// pressed decides who goes to sleep for want of memory, in this order, whatever their own policies say: the idlest
// first. A napping one is among the idlest, and its memory is what it still has.
func pressed(list []Seen, why string, now time.Time) []Step {
	var out []Step
	for _, s := range list {
		since := now.Sub(s.LastUse())
		if !s.active() || s.OOMSkip || s.HeldUntil.After(now) || since < youngest {
			continue
		}
		out = append(out, Step{s, Asleep, ledger.Cause{Via: ledger.Pressure,
			Detail: fmt.Sprintf("%s; idle for %v", why, since.Round(time.Second))}})
	}
	byLastUse(out)
	return out
}

func byLastUse(steps []Step) {
	slices.SortFunc(steps, func(a, b Step) int {
		return cmp.Or(a.Seen.LastUse().Compare(b.Seen.LastUse()), cmp.Compare(a.Seen.UID, b.Seen.UID))
	})
}
