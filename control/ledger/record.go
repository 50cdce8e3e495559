package ledger

import (
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"
)

// Kind is what was done to a webspace.
type Kind string

// The kinds.
const (
	Wake  Kind = "wake"  // it was stopped, and was started
	Thaw  Kind = "thaw"  // it was napping, and was let go on
	Nap   Kind = "nap"   // it was frozen
	Sleep Kind = "sleep" // it was stopped
)

// Kinds are all kinds, in the order of their lives.
func Kinds() []Kind { return []Kind{Wake, Thaw, Nap, Sleep} }

// Via is through what the cause came.
type Via string

// What wakes.
const (
	Forward Via = "forward" // a packet to an external address and port
	LAN     Via = "lan"     // a packet of a neighbour
	HTTP    Via = "http"    // a packet of an ingress, to the HTTP port
	Node    Via = "node"    // a packet of a process or pod on a node
	API     Via = "api"     // somebody asked for it: API, CLI, ensure-started
	Admin   Via = "admin"   // the machine's administrator, past Lanyard: lxc start, stop, pause
)

// What puts to sleep, beside API and Admin.
const (
	Idle     Via = "idle"     // nobody used it for as long as its policy says
	Pressure Via = "pressure" // the node ran out of memory
)

// Vias are all of them.
func Vias() []Via { return []Via{Forward, LAN, HTTP, Node, API, Admin, Idle, Pressure} }

// Cause says who or what it was.
type Cause struct {
	Via      Via            `json:"via"`
	Peer     netip.AddrPort `json:"peer,omitzero"`     // who sent the packet
	Proto    string         `json:"proto,omitempty"`   // tcp, udp
	Port     uint16         `json:"port,omitempty"`    // of the webspace
	External netip.AddrPort `json:"external,omitzero"` // where it entered, when Via is Forward and it is known
	// Detail is for people: who asked, how long it was idle, how little memory was left.
	Detail string `json:"detail,omitempty"`
}

// Outcome is how it ended.
type Outcome string

// The outcomes.
const (
	Done    Outcome = "done"
	Failed  Outcome = "failed"  // LXD's error is in Error
	Timeout Outcome = "timeout" // it was started, but did not answer in time
	Refused Outcome = "refused" // a policy or a budget forbade it
	Undone  Outcome = "undone"  // something happened meanwhile: a packet during a nap's beginning, a new exec
	Forced  Outcome = "forced"  // stopped, but not gracefully
)

// Outcomes are all of them.
func Outcomes() []Outcome { return []Outcome{Done, Failed, Timeout, Refused, Undone, Forced} }

// Split says when each step of a wake was reached, each counted from the first packet (or the request). Zero: not
// reached, or not seen. The order need not be the one of the fields: a carrier comes before LXD says "started".
type Split struct {
	Decided   time.Duration `json:"decided_ns,omitempty"`   // the start was begun: out of the queue
	Started   time.Duration `json:"started_ns,omitempty"`   // LXD's start (or unfreeze) had returned
	Carrier   time.Duration `json:"carrier_ns,omitempty"`   // its interface was up
	Lease     time.Duration `json:"lease_ns,omitempty"`     // it had its address
	Open      time.Duration `json:"open_ns,omitempty"`      // its port listened
	Delivered time.Duration `json:"delivered_ns,omitempty"` // it answered the packet
}

// Steps are the names of Split's fields, and their values in the same order.
func (s Split) Steps() []Step {
	return []Step{{"decided", s.Decided}, {"started", s.Started}, {"carrier", s.Carrier}, {"lease", s.Lease},
		{"open", s.Open}, {"delivered", s.Delivered}}
}

// Step is one step of a wake.
type Step struct {
	Name  string
	After time.Duration // since the first packet; zero: not reached
}

// Record is one wake or one sleep.
type Record struct {
	// ID grows by one with each record of a node. Add gives it.
	ID       uint64    `json:"id"`
	Time     time.Time `json:"time"` // of the first packet, or of the decision to sleep
	UID      int       `json:"uid"`
	Instance string    `json:"instance"`
	Kind     Kind      `json:"kind"`
	Cause    Cause     `json:"cause"`
	Outcome  Outcome   `json:"outcome"`
	Error    string    `json:"error,omitempty"`
	// Took is from Time to the end, whatever it was.
	Took  time.Duration `json:"took_ns"`
	Split Split         `json:"split,omitzero"`
	// Packets that waited for this wake, and those of them that did not fit.
	Held    int `json:"held,omitempty"`
	Dropped int `json:"dropped,omitempty"`
}

// woke says that the webspace runs because of it.
func (r Record) woke() bool { return r.Outcome == Done && (r.Kind == Wake || r.Kind == Thaw) }

// Bounds of texts: an error of LXD may quote what a webspace wrote.
const (
	maxText = 1 << 10 // bytes
	maxName = 128
)

// bounded gives r with every text cut to what the ledger keeps, and without what could not be written as JSON.
func (r Record) bounded() Record {
	r.Instance = cut(r.Instance, maxName)
	r.Error = cut(r.Error, maxText)
	r.Cause.Detail = cut(r.Cause.Detail, maxText)
	r.Cause.Proto = cut(r.Cause.Proto, 16)
	r.Kind, r.Outcome, r.Cause.Via = Kind(cut(string(r.Kind), 16)), Outcome(cut(string(r.Outcome), 16)), Via(cut(string(r.Cause.Via), 16))
	// A cause's zone is a name of an interface; nobody needs it here, and it is not bounded.
	r.Cause.Peer = netip.AddrPortFrom(r.Cause.Peer.Addr().WithZone("").Unmap(), r.Cause.Peer.Port())
	r.Cause.External = netip.AddrPortFrom(r.Cause.External.Addr().WithZone("").Unmap(), r.Cause.External.Port())
	if y := r.Time.Year(); y < 1 || y > 9999 {
		r.Time = time.Time{}
	}
	r.Time = r.Time.Round(0).UTC()
	return r
}

func cut(text string, most int) string {
	if len(text) > most {
		text = text[:most]
		for len(text) > 0 && !utf8.ValidString(text[max(0, len(text)-utf8.UTFMax):]) {
			text = text[:len(text)-1]
		}
	}
	return strings.ToValidUTF8(text, "?")
}
