package webspace

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strconv"
)

// Keys of an instance's configuration.
const (
	Key     = "user.lanyard"
	SeedKey = "user._webspaced" // the seed system's; read when Key is absent, never written
)

// Decode finds and reads the record in an instance's configuration. imported says that it came from the seed's key.
// An instance with neither key gives ErrNotFound; a record that cannot be used gives ErrInvalid. Every error is a
// *Problem, and only about this one instance.
func Decode(config map[string]string) (r Record, imported bool, err error) {
	text, ok := config[Key]
	if !ok || text == "" {
		if text, imported = config[SeedKey]; !imported || text == "" {
			return Record{}, false, &Problem{
				What: "the instance has no record", Cause: "neither " + Key + " nor " + SeedKey + " is set",
				Next: "create it with: lanyard ws init", Kind: ErrNotFound,
			}
		}
	}
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		var p *Problem
		if errors.As(err, &p) {
			return Record{}, imported, p
		}
		return Record{}, imported, invalid(err.Error(), "")
	}
	return r, imported, nil
}

// Encode is the inverse of Decode: the text for Key. It refuses to write what Decode would refuse to read.
func Encode(r Record) (string, error) {
	r.Version = Version
	if err := r.Validate(); err != nil {
		return "", err
	}
	b, err := json.Marshal(r)
	if err != nil {
		return "", invalid(err.Error(), "")
	}
	if len(b) > MaxRecord {
		return "", invalid(fmt.Sprintf("%d bytes of JSON, the limit is %d", len(b), MaxRecord), "remove domains or ports")
	}
	return string(b), nil
}

// MarshalJSON writes the known fields over the unknown ones that were read.
func (r Record) MarshalJSON() ([]byte, error) {
	out := make(map[string]any, len(r.unknown)+7)
	for k, v := range r.unknown {
		out[k] = v
	}
	out["version"], out["user"], out["config"] = r.Version, r.User, r.Config
	// The seed's readers expect a list and an object here, never null.
	out["domains"] = append([]string{}, r.Domains...)
	out["ports"] = orEmpty(r.Ports)
	if len(r.UDPPorts) > 0 {
		out["udpPorts"] = r.UDPPorts
	}
	if r.Address.IsValid() {
		out["address"] = r.Address.String()
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads strictly: names are matched exactly, nothing appears twice, nothing follows, and the result is
// valid. encoding/json alone would let "Ports" stand for "ports" and take the last of two.
func (r *Record) UnmarshalJSON(data []byte) error {
	if len(data) > MaxRecord {
		return invalid(fmt.Sprintf("%d bytes of JSON, the limit is %d", len(data), MaxRecord), "")
	}
	fields, err := object(data)
	if err != nil {
		return invalid(err.Error(), "")
	}
	var n Record
	var address string
	for name, into := range map[string]any{
		"version": &n.Version, "user": &n.User, "address": &address, "config": &n.Config,
		"domains": &n.Domains, "ports": &n.Ports, "udpPorts": &n.UDPPorts,
	} {
		if err := take(fields, name, into); err != nil {
			return err
		}
	}
	if address != "" {
		a, err := netip.ParseAddr(address)
		if err != nil {
			return invalid(fmt.Sprintf("address: %.80q is not an IP address", address), "")
		}
		n.Address = a
	}
	if len(fields) > 0 {
		n.unknown = fields
	}
	if err := n.Validate(); err != nil {
		return err
	}
	*r = n
	return nil
}

// MarshalJSON writes the known fields over the unknown ones that were read.
func (c Config) MarshalJSON() ([]byte, error) {
	out := make(map[string]any, len(c.unknown)+5)
	for k, v := range c.unknown {
		out[k] = v
	}
	out["startupDelay"], out["httpPort"], out["sniPassthrough"] = c.StartupDelay, c.HTTPPort, c.SNIPassthrough
	if !c.Wake.IsZero() {
		out["wake"] = c.Wake
	}
	if !c.Idle.IsZero() {
		out["idle"] = c.Idle
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads as strictly as Record's does.
func (c *Config) UnmarshalJSON(data []byte) error {
	fields, err := object(data)
	if err != nil {
		return err
	}
	var n Config
	for name, into := range map[string]any{
		"startupDelay": &n.StartupDelay, "httpPort": &n.HTTPPort, "sniPassthrough": &n.SNIPassthrough,
		"wake": &n.Wake, "idle": &n.Idle,
	} {
		if err := take(fields, name, into); err != nil {
			return err
		}
	}
	if len(fields) > 0 {
		n.unknown = fields
	}
	*c = n
	return nil
}

// MarshalJSON writes an object with decimal keys, in ascending order of the external port.
func (p Ports) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, external := range slices.Sorted(maps.Keys(p)) {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"%d":%d`, external, p[external])
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// UnmarshalJSON accepts only canonical decimal keys: "22" and "022" would otherwise be one port with two targets.
func (p *Ports) UnmarshalJSON(data []byte) error {
	fields, err := object(data)
	if err != nil {
		return err
	}
	n := make(Ports, len(fields))
	for key, raw := range fields {
		external, err := strconv.ParseUint(key, 10, 16)
		if err != nil || strconv.FormatUint(external, 10) != key {
			return fmt.Errorf("%.40q is not a port number", key)
		}
		var internal uint16
		if err := json.Unmarshal(raw, &internal); err != nil {
			return fmt.Errorf("port %s: %.40s is not a port number", key, raw)
		}
		n[uint16(external)] = internal
	}
	*p = n
	return nil
}

func orEmpty(p Ports) Ports {
	if p == nil {
		return Ports{}
	}
	return p
}

// take decodes one field and removes it from the rest. An absent field, or null (which the seed's Go wrote for an
// empty list), leaves the zero value.
func take(fields map[string]json.RawMessage, name string, into any) error {
	raw, ok := fields[name]
	if !ok {
		return nil
	}
	delete(fields, name)
	if bytes.Equal(raw, []byte("null")) {
		return nil
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return invalid(name+": "+err.Error(), "")
	}
	return nil
}

// object splits a JSON object into its members, each once, with nothing behind it.
func object(data []byte) (map[string]json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	fields := make(map[string]json.RawMessage)
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("not JSON: %w", err)
		}
		name, ok := t.(string)
		if !ok {
			return nil, errors.New("not JSON")
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, fmt.Errorf("not JSON: %w", err)
		}
		if _, twice := fields[name]; twice {
			return nil, fmt.Errorf("%.40q appears twice", name)
		}
		fields[name] = raw
	}
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("something follows the JSON object")
	}
	return fields, nil
}
