package wake

import (
	"slices"
	"time"

	"github.com/lanyard-project/lanyard/dataplane"
)

// hold is the packets that wait for one webspace, in the order of their arrival.
type hold struct {
	list  []dataplane.Frame
	bytes int
	syns  int
	rest  int // all but SYNs
	total *totals
}

// totals are what all holds of the node have together.
type totals struct{ frames, bytes int }

// add keeps a frame. A SYN that is there already keeps its place, and gets the newest bytes: its timestamps are right.
// It says whether the frame is kept, and how many others had to go for it.
func (h *hold) add(f dataplane.Frame, b Bounds) (kept bool, gone int) {
	syn := f.Proto == dataplane.TCP
	if syn {
		t := tupleOf(f)
		for n := range h.list {
			if e := &h.list[n]; tupleOf(*e) == t {
				h.grow(len(f.Data) - len(e.Data))
				f.Time, f.Unverified = e.Time, f.Unverified && e.Unverified
				*e = f
				return true, 0
			}
		}
	}
	if f.Unverified {
		gone = h.makeRoom(b.Unverified)
	}
	full := h.bytes+len(f.Data) > b.Bytes || h.total.frames >= b.NodeFrames || h.total.bytes+len(f.Data) > b.NodeBytes ||
		syn && h.syns >= b.SYNs || !syn && h.rest >= b.Datagrams
	if full {
		return false, gone
	}
	h.list = append(h.list, f)
	h.count(f, 1)
	return true, gone
}

// count notes that a frame has come or gone.
func (h *hold) count(f dataplane.Frame, by int) {
	h.total.frames += by
	if f.Proto == dataplane.TCP {
		h.syns += by
	} else {
		h.rest += by
	}
	h.grow(by * len(f.Data))
}

func (h *hold) grow(by int) {
	h.bytes += by
	h.total.bytes += by
}

// makeRoom drops the oldest unverified SYNs while there are as many as may be: a flood of forged ones must not keep out
// the one whose sender is about to answer.
func (h *hold) makeRoom(most int) (gone int) {
	n := 0
	for _, f := range h.list {
		if f.Unverified {
			n++
		}
	}
	for ; n >= most; n-- {
		at := slices.IndexFunc(h.list, func(f dataplane.Frame) bool { return f.Unverified })
		h.count(h.list[at], -1)
		h.list = slices.Delete(h.list, at, at+1)
		gone++
	}
	return gone
}

// take removes and returns what which is true for, in order.
func (h *hold) take(which func(dataplane.Frame) bool) []dataplane.Frame {
	var out []dataplane.Frame
	keep := h.list[:0]
	for _, f := range h.list {
		if !which(f) {
			keep = append(keep, f)
			continue
		}
		out = append(out, f)
		h.count(f, -1)
	}
	clear(h.list[len(keep):])
	h.list = keep
	return out
}

func (h *hold) all() []dataplane.Frame {
	return h.take(func(dataplane.Frame) bool { return true })
}

// oldest gives the first frame that is held for a port.
func (h *hold) oldest(p Port) (dataplane.Frame, bool) {
	for _, f := range h.list {
		if portOf(f) == p && !f.Unverified {
			return f, true
		}
	}
	return dataplane.Frame{}, false
}

// ports are those that something is held for, each once, the oldest first. Unverified SYNs do not count.
func (h *hold) ports() []Port {
	var out []Port
	for _, f := range h.list {
		if p := portOf(f); !f.Unverified && !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

// expire removes SYNs whose senders have had time enough to prove that they are there.
func (h *hold) expire(before time.Time) int {
	return len(h.take(func(f dataplane.Frame) bool { return f.Unverified && f.Time.Before(before) }))
}
