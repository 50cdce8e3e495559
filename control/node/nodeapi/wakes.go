package nodeapi

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"
)

// WakePage is a part of what the node remembers of wakes and sleeps, the newest first.
type WakePage struct {
	Wakes []Wake `json:"wakes"`
	// Next continues: give it as before. Absent: there is nothing older.
	Next uint64 `json:"next,omitempty"`
	// Woken is how often the webspace asked for was woken since the ledger was begun; it never falls.
	Woken uint64 `json:"woken,omitempty"`
}

// Wake is one wake or one sleep.
type Wake struct {
	ID       uint64         `json:"id"` // grows by one
	Time     time.Time      `json:"time"`
	UID      int            `json:"uid"`
	Webspace string         `json:"webspace"`
	Kind     string         `json:"kind"` // wake, thaw, nap, sleep
	Via      string         `json:"via"`  // forward, lan, http, node, api, admin, idle, pressure
	Peer     netip.AddrPort `json:"peer,omitzero"`
	Proto    string         `json:"proto,omitempty"`
	Port     uint16         `json:"port,omitempty"` // of the webspace
	External netip.AddrPort `json:"external,omitzero"`
	Detail   string         `json:"detail,omitempty"`
	Outcome  string         `json:"outcome"` // done, failed, timeout, refused, undone, forced
	Error    string         `json:"error,omitempty"`
	Took     time.Duration  `json:"took_ns"`
	// After is when each step was reached, since the first packet: decided, started (LXD's start returned), carrier, lease,
	// open (the port listens), delivered.
	After   map[string]time.Duration `json:"after_ns,omitempty"`
	Held    int                      `json:"held,omitempty"`    // packets that waited
	Dropped int                      `json:"dropped,omitempty"` // packets that did not fit
}

// Woken is how often each webspace was woken since the ledger was begun, by uid; one that is missing never was. It never
// falls.
type Woken struct {
	Woken map[int]uint64 `json:"woken"` // by uid
}

// AwakeList is what the webspaces of this node do, the idlest last.
type AwakeList struct {
	Webspaces []AwakeState `json:"webspaces"`
}

// AwakeState says whether a webspace is awake, and why.
type AwakeState struct {
	UID        int           `json:"uid"`
	Webspace   string        `json:"webspace"`
	Status     string        `json:"status"` // as LXD names it: Running, Frozen, Stopped, ...
	LastUse    time.Time     `json:"last_use,omitzero"`
	NapAfter   time.Duration `json:"nap_after_ns,omitempty"`   // its policy; absent: never
	SleepAfter time.Duration `json:"sleep_after_ns,omitempty"` // its policy; absent: never
	OOMSkip    bool          `json:"oom_skip,omitempty"`       // it is spared when memory is short
	NapAt      time.Time     `json:"nap_at,omitzero"`          // if nothing happens
	SleepAt    time.Time     `json:"sleep_at,omitzero"`        // if nothing happens
	Reasons    []AwakeReason `json:"reasons"`                  // what keeps it awake
}

// AwakeReason is one thing that keeps a webspace awake.
type AwakeReason struct {
	Kind    string         `json:"kind"` // flow, operation, session, use, policy, unknown
	What    string         `json:"what"`
	Since   time.Time      `json:"since,omitzero"`
	Until   time.Time      `json:"until,omitzero"`
	Local   netip.AddrPort `json:"local,omitzero"`
	Remote  netip.AddrPort `json:"remote,omitzero"`
	Passive bool           `json:"passive,omitempty"` // the other side opened the connection
}

// Wakes asks for what the node remembers of a webspace ("": of all), older than the record before (0: the newest).
// webspace is a name, or a uid in digits.
func (c *Client) Wakes(ctx context.Context, webspace string, before uint64, limit int) (WakePage, error) {
	q := url.Values{}
	if webspace != "" {
		q.Set("webspace", webspace)
	}
	if before > 0 {
		q.Set("before", strconv.FormatUint(before, 10))
	}
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	var p WakePage
	err := c.call(ctx, http.MethodGet, PathWakes+"?"+q.Encode(), "wakes", &p)
	return p, err
}

// Awake asks what keeps a webspace awake ("": all of the node).
func (c *Client) Awake(ctx context.Context, webspace string) (AwakeList, error) {
	path := PathAwake
	if webspace != "" {
		path += "?" + url.Values{"webspace": {webspace}}.Encode()
	}
	var l AwakeList
	err := c.call(ctx, http.MethodGet, path, "webspaces that are awake", &l)
	return l, err
}

// Woken asks how often each webspace was woken.
func (c *Client) Woken(ctx context.Context) (Woken, error) {
	var w Woken
	err := c.call(ctx, http.MethodGet, PathWoken, "counts of wakes", &w)
	return w, err
}
