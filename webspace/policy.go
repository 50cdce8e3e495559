package webspace

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Proto is the protocol of a forward.
type Proto string

// Protocols of forwards.
const (
	TCP Proto = "tcp"
	UDP Proto = "udp"
)

// Valid says whether it is one that can be forwarded.
func (p Proto) Valid() bool { return p == TCP || p == UDP }

// Forward names one by its outside: a protocol and an external port. In JSON it is "tcp/64363".
type Forward struct {
	Proto Proto
	Port  uint16
}

func (f Forward) String() string { return string(f.Proto) + "/" + strconv.Itoa(int(f.Port)) }

// MarshalText gives "tcp/64363".
func (f Forward) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads the canonical form only, so that no two texts mean the same forward.
func (f *Forward) UnmarshalText(b []byte) error {
	proto, digits, _ := strings.Cut(string(b), "/")
	port, err := strconv.ParseUint(digits, 10, 16)
	n := Forward{Proto(proto), uint16(port)}
	if err != nil || port == 0 || !n.Proto.Valid() || n.String() != string(b) {
		return fmt.Errorf("%.40q is not a forward such as tcp/64363", b)
	}
	*f = n
	return nil
}

// Policy says which first packets may wake a webspace that is asleep.
type Policy string

// Policies.
const (
	WakeDefault   Policy = ""          // what the node is configured to
	WakeAny       Policy = "any"       // any packet
	WakeVerified  Policy = "verified"  // TCP only from a source that has shown that it receives at its address
	WakeAllowlist Policy = "allowlist" // only from the sources in Allow
	WakeNever     Policy = "never"     // only its member, through the API
)

// Valid says whether it is one of the above.
func (p Policy) Valid() bool {
	switch p {
	case WakeDefault, WakeAny, WakeVerified, WakeAllowlist, WakeNever:
		return true
	}
	return false
}

// WakeRule is a policy with its sources.
type WakeRule struct {
	Policy Policy         `json:"policy,omitempty"`
	Allow  []netip.Prefix `json:"allow,omitempty"` // for WakeAllowlist
}

// Wake is what may wake a webspace: a rule for all packets, and other rules for some forwards.
type Wake struct {
	WakeRule
	Forwards map[Forward]WakeRule

	unknown map[string]json.RawMessage
}

// Rule of a forward: its own where it has one, or the webspace's.
func (w Wake) Rule(f Forward) WakeRule {
	if r, ok := w.Forwards[f]; ok {
		return r
	}
	return w.WakeRule
}

// IsZero says that nothing is set.
func (w Wake) IsZero() bool {
	return w.Policy == "" && len(w.Allow) == 0 && len(w.Forwards) == 0 && len(w.unknown) == 0
}

// Idle is when a webspace that nobody uses naps (is frozen) and falls asleep (is stopped). Zero durations: never.
type Idle struct {
	NapAfter   time.Duration // whole seconds
	SleepAfter time.Duration // whole seconds
	OOMSkip    bool          // never put to sleep because the node's memory runs short

	unknown string // a JSON object of the fields that this version does not know; text, so that == works
}

// IsZero says that nothing is set.
func (i Idle) IsZero() bool { return i == Idle{} }

// Limits of what a record says about waking and idling.
const (
	MaxAllow = 256                  // sources per rule
	MaxIdle  = 365 * 24 * time.Hour // of a duration
)

// MarshalJSON writes {"policy":…,"allow":[…],"forwards":{"tcp/64363":{…}}} over the unknown fields that were read.
func (w Wake) MarshalJSON() ([]byte, error) {
	out := make(map[string]any, len(w.unknown)+3)
	for k, v := range w.unknown {
		out[k] = v
	}
	if w.Policy != "" {
		out["policy"] = w.Policy
	}
	if len(w.Allow) > 0 {
		out["allow"] = w.Allow
	}
	if len(w.Forwards) > 0 {
		out["forwards"] = w.Forwards
	}
	return json.Marshal(out)
}

// UnmarshalJSON is its inverse. A newer lanyardd's fields are kept.
func (w *Wake) UnmarshalJSON(b []byte) error {
	fields, err := object(b)
	if err != nil {
		return err
	}
	var n Wake
	for name, into := range map[string]any{"policy": &n.Policy, "allow": &n.Allow, "forwards": &n.Forwards} {
		if err := take(fields, name, into); err != nil {
			return err
		}
	}
	if len(fields) > 0 {
		n.unknown = fields
	}
	*w = n
	return nil
}

// MarshalJSON writes {"napAfter":300,"sleepAfter":3600,"oomSkip":true}, durations in seconds.
func (i Idle) MarshalJSON() ([]byte, error) {
	out := make(map[string]any, 3)
	if i.unknown != "" {
		var kept map[string]json.RawMessage
		if err := json.Unmarshal([]byte(i.unknown), &kept); err != nil {
			return nil, err
		}
		for k, v := range kept {
			out[k] = v
		}
	}
	if i.NapAfter != 0 {
		out["napAfter"] = int64(i.NapAfter / time.Second)
	}
	if i.SleepAfter != 0 {
		out["sleepAfter"] = int64(i.SleepAfter / time.Second)
	}
	if i.OOMSkip {
		out["oomSkip"] = true
	}
	return json.Marshal(out)
}

// UnmarshalJSON is its inverse.
func (i *Idle) UnmarshalJSON(b []byte) error {
	fields, err := object(b)
	if err != nil {
		return err
	}
	var nap, sleep int64
	var n Idle
	for name, into := range map[string]any{"napAfter": &nap, "sleepAfter": &sleep, "oomSkip": &n.OOMSkip} {
		if err := take(fields, name, into); err != nil {
			return err
		}
	}
	if most := int64(MaxIdle / time.Second); nap < 0 || nap > most || sleep < 0 || sleep > most {
		return fmt.Errorf("a duration is not between 0 and %d seconds", most)
	}
	n.NapAfter, n.SleepAfter = time.Duration(nap)*time.Second, time.Duration(sleep)*time.Second
	if len(fields) > 0 {
		kept, err := json.Marshal(fields)
		if err != nil {
			return err
		}
		n.unknown = string(kept)
	}
	*i = n
	return nil
}

// Clone returns a deep copy.
func (c Config) Clone() Config {
	c.Wake.Allow = slices.Clone(c.Wake.Allow)
	c.Wake.Forwards = maps.Clone(c.Wake.Forwards)
	c.Wake.unknown = maps.Clone(c.Wake.unknown)
	for f, r := range c.Wake.Forwards {
		r.Allow = slices.Clone(r.Allow)
		c.Wake.Forwards[f] = r
	}
	c.unknown = maps.Clone(c.unknown)
	return c
}

func (c Config) validatePolicy() error {
	if err := c.Wake.WakeRule.validate(); err != nil {
		return err
	}
	if len(c.Wake.Forwards) > 2*MaxPorts {
		return invalid(fmt.Sprintf("wake: rules for %d forwards, the limit is %d", len(c.Wake.Forwards), 2*MaxPorts), "")
	}
	for f, r := range c.Wake.Forwards {
		if !f.Proto.Valid() || f.Port == 0 {
			return invalid(fmt.Sprintf("wake: %.40q is not a forward", f), "")
		}
		if err := r.validate(); err != nil {
			return err
		}
	}
	for name, d := range map[string]time.Duration{"napAfter": c.Idle.NapAfter, "sleepAfter": c.Idle.SleepAfter} {
		if d < 0 || d > MaxIdle || d%time.Second != 0 {
			return invalid(fmt.Sprintf("idle: %s is %v, not whole seconds between 0 and %v", name, d, MaxIdle), "")
		}
	}
	return nil
}

func (r WakeRule) validate() error {
	if !r.Policy.Valid() {
		return invalid(fmt.Sprintf("wake: policy %.40q is none of any, verified, allowlist, never", r.Policy), "")
	}
	if len(r.Allow) > MaxAllow {
		return invalid(fmt.Sprintf("wake: %d sources, the limit is %d", len(r.Allow), MaxAllow), "")
	}
	for _, p := range r.Allow {
		if !p.IsValid() || p != p.Masked() {
			return invalid(fmt.Sprintf("wake: %v is not a prefix such as 192.0.2.0/24", p), "")
		}
	}
	return nil
}
