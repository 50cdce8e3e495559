package webspace

import (
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"strings"
	"testing"
)

const seedJSON = `{"user":3,"config":{"startupDelay":5,"httpPort":80,"sniPassthrough":false},"domains":[],"ports":{"64363":22}}`

func TestSeedRecord(t *testing.T) {
	r, imported, err := Decode(map[string]string{SeedKey: seedJSON})
	if err != nil || !imported {
		t.Fatal(imported, err)
	}
	if r.User != 3 || r.Config.StartupDelay != 5 || r.Config.HTTPPort != 80 || r.Config.SNIPassthrough || len(r.Domains) != 0 || !maps.Equal(r.Ports, Ports{64363: 22}) || r.Address.IsValid() {
		t.Errorf("%+v", r)
	}
	// What we write, a reader of the seed's form can still read, field by field.
	r.Address = MustAddr("172.24.7.9")
	r.UDPPorts = Ports{64363: 53}
	text, err := Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	var old struct {
		User   int
		Config struct {
			StartupDelay   float64
			HTTPPort       uint16
			SNIPassthrough bool
		}
		Domains []string
		Ports   map[uint16]uint16
	}
	if err := json.Unmarshal([]byte(text), &old); err != nil || old.User != 3 || old.Config.HTTPPort != 80 || old.Domains == nil || old.Ports[64363] != 22 || len(old.Ports) != 1 {
		t.Errorf("%s: %+v, %v", text, old, err)
	}
	// Our key wins over the seed's.
	if r, imported, err := Decode(map[string]string{SeedKey: `{`, Key: text}); err != nil || imported || r.Version != Version || r.UDPPorts[64363] != 53 {
		t.Error(r, imported, err)
	}
}

func TestUnknownFieldsStay(t *testing.T) {
	text := `{"version":1,"user":3,"config":{"httpPort":80,"wake":{"policy":"never"}},"idle":[1,2,{"a":null}],"domains":["a.example"],"ports":{}}`
	r, _, err := Decode(map[string]string{Key: text})
	if err != nil {
		t.Fatal(err)
	}
	r = r.Clone()
	r.Config.HTTPPort = 8080
	out, err := Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	var got, want any
	_ = json.Unmarshal([]byte(out), &got)
	_ = json.Unmarshal([]byte(strings.ReplaceAll(text, `"httpPort":80`, `"httpPort":8080,"startupDelay":0,"sniPassthrough":false`)), &want)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %s", out)
	}
}

func TestBadRecords(t *testing.T) {
	for name, text := range map[string]string{
		"empty object is fine but version is new": `{"version":2}`,
		"not JSON":           `hello`,
		"array":              `[]`,
		"null":               `null`,
		"cut":                seedJSON[:40],
		"two":                seedJSON + seedJSON,
		"twice":              `{"user":3,"user":4}`,
		"port twice":         `{"ports":{"22":1,"22":2}}`,
		"port by other name": `{"ports":{"022":1}}`,
		"signed port":        `{"ports":{"+22":1}}`,
		"port 0":             `{"ports":{"0":22}}`,
		"to port 0":          `{"ports":{"50000":0}}`,
		"port 65536":         `{"ports":{"65536":22}}`,
		"to port 65536":      `{"ports":{"50000":65536}}`,
		"negative":           `{"ports":{"50000":-1}}`,
		"fraction":           `{"udpPorts":{"50000":1.5}}`,
		"text":               `{"udpPorts":{"50000":"22"}}`,
		"list":               `{"ports":[1]}`,
		"user":               `{"user":-1}`,
		"user too large":     `{"user":3000000000}`,
		"delay":              `{"config":{"startupDelay":-1}}`,
		"delay 1e9":          `{"config":{"startupDelay":1e9}}`,
		"address":            `{"address":"172.24.1"}`,
		"IPv6":               `{"address":"fd00::1"}`,
		"mapped":             `{"address":"::ffff:172.24.1.1"}`,
		"multicast":          `{"address":"224.0.0.1"}`,
		"domain":             `{"domains":["a b"]}`,
		"domain injects":     "{\"domains\":[\"a`) || Host(`b\"]}",
		"no domain":          `{"domains":[""]}`,
		"deep":               `{"x":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`,
		"long":               `{"x":"` + strings.Repeat("x", MaxRecord) + `"}`,
	} {
		_, _, err := Decode(map[string]string{Key: text})
		var p *Problem
		if !errors.Is(err, ErrInvalid) || !errors.As(err, &p) || p.Next == "" || len(err.Error()) > 1000 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := Decode(nil); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	for name, r := range map[string]Record{
		"port": {Ports: Ports{0: 1}}, "user": {User: -1}, "domains": {Domains: make([]string, MaxDomains+1)},
		"long": {Domains: []string{strings.Repeat("x", 254)}},
	} {
		if text, err := Encode(r); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: wrote %s, %v", name, text, err)
		}
	}
}

// Whatever is accepted can be written, and is then read back the same; and nothing makes the reader panic.
func FuzzRecord(f *testing.F) {
	f.Add(seedJSON)
	f.Add(`{"version":1,"user":3,"address":"172.24.7.9","config":{"x":1},"domains":["a"],"ports":{"1":2},"udpPorts":{"65535":65535},"y":{}}`)
	f.Add(`{"ports":null,"domains":null,"config":null}`)
	f.Fuzz(func(t *testing.T, text string) {
		r, _, err := Decode(map[string]string{Key: text})
		if err != nil {
			if !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrNotFound) {
				t.Fatalf("an error of no kind: %v", err)
			}
			return
		}
		out, err := Encode(r)
		if err != nil {
			if len(text) < MaxRecord/8 { // escaping may make a long one too long
				t.Fatalf("accepted but cannot be written: %v", err)
			}
			return
		}
		again, _, err := Decode(map[string]string{Key: out})
		if err != nil {
			t.Fatalf("wrote %s: %v", out, err)
		}
		twice, err := Encode(again)
		if err != nil || twice != out {
			t.Fatalf("wrote %s, then %s, %v", out, twice, err)
		}
	})
}
