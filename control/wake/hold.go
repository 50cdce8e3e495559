package wake

import (
	"slices"
	"time"
)

// hold is the packets that wait for one webspace, in the order of their arrival.
type hold struct {
	list    []held
	bytes   int
	syns    int
	others  int
	dropped int // since the hold was last empty
	total   *totals
}

type held struct {
	packet
	frame    []byte
	since    time.Time
	verified bool // its sender is there, or nobody asked
}

// totals are what all holds of the node have together.
type totals struct{ frames, bytes int }

// add keeps a frame. A SYN that is there already keeps its place, and gets the newest bytes (its timestamps are right).
// It says whether the frame is kept; what does not fit is counted.
func (h *hold) add(p packet, frame []byte, now time.Time, verified bool, b Bounds) bool {
	if p.syn {
		for n := range h.list {
			if e := &h.list[n]; e.syn && e.tuple == p.tuple {
				h.grow(len(frame) - len(e.frame))
				e.frame, e.verified = slices.Clone(frame), e.verified || verified
				return true
			}
		}
	}
	if p.syn && !verified {
		h.makeRoom(b.Unverified)
	}
	full := h.bytes+len(frame) > b.Bytes || h.total.frames >= b.NodeFrames || h.total.bytes+len(frame) > b.NodeBytes
	if p.syn {
		full = full || h.syns >= b.SYNs
	} else {
		full = full || h.others >= b.Datagrams
	}
	if full {
		h.dropped++
		return false
	}
	h.list = append(h.list, held{packet: p, frame: slices.Clone(frame), since: now, verified: verified})
	h.count(p, 1)
	h.grow(len(frame))
	return true
}

func (h *hold) count(p packet, by int) {
	h.total.frames += by
	if p.syn {
		h.syns += by
	} else {
		h.others += by
	}
}

func (h *hold) grow(by int) {
	h.bytes += by
	h.total.bytes += by
}

// makeRoom drops the oldest unverified SYN while there are as many as may be: a flood of forged ones must not keep out
// the one whose sender is about to answer.
func (h *hold) makeRoom(most int) {
	n := 0
	for _, e := range h.list {
		if e.syn && !e.verified {
			n++
		}
	}
	for ; n >= most; n-- {
		at := slices.IndexFunc(h.list, func(e held) bool { return e.syn && !e.verified })
		h.remove(at)
		h.dropped++
	}
}

func (h *hold) remove(at int) held {
	e := h.list[at]
	h.list = slices.Delete(h.list, at, at+1)
	h.count(e.packet, -1)
	h.grow(-len(e.frame))
	return e
}

// take removes and returns what which is true for, in order.
func (h *hold) take(which func(held) bool) []held {
	var out []held
	keep := h.list[:0]
	for _, e := range h.list {
		if !which(e) {
			keep = append(keep, e)
			continue
		}
		out = append(out, e)
		h.count(e.packet, -1)
		h.grow(-len(e.frame))
	}
	clear(h.list[len(keep):])
	h.list = keep
	return out
}

func (h *hold) all() []held { return h.take(func(held) bool { return true }) }

// oldest gives the oldest SYN for a port.
func (h *hold) oldest(p Port) (held, bool) {
	for _, e := range h.list {
		if e.syn && e.tuple.port() == p {
			return e, true
		}
	}
	return held{}, false
}

// ports are those that something is held for, each once, the oldest first.
func (h *hold) ports() []Port {
	var out []Port
	for _, e := range h.list {
		if p := e.tuple.port(); !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

// expire removes SYNs whose senders have had time enough to prove that they are there.
func (h *hold) expire(before time.Time) int {
	return len(h.take(func(e held) bool { return e.syn && !e.verified && e.since.Before(before) }))
}
