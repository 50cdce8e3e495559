package config

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// Key is one setting.
type Key struct {
	Path    string // lan.prefix
	Env     string // LANYARD_LAN_PREFIX
	Flag    string // lan-prefix
	Kind    string // text, number, duration, list, yes/no, ...
	Default string
	Doc     string
}

// Section is a group of keys.
type Section struct {
	Name, Doc string
	Keys      []Key
}

// Sections are all keys, in the order of Config.
func Sections() []Section {
	var out []Section
	c := reflect.ValueOf(Default())
	for i := range c.NumField() {
		field := c.Type().Field(i)
		s := Section{Name: field.Tag.Get("koanf"), Doc: field.Tag.Get("doc")}
		group := c.Field(i)
		for k := range group.NumField() {
			f := group.Type().Field(k)
			path := s.Name + "." + f.Tag.Get("koanf")
			s.Keys = append(s.Keys, Key{
				Path: path, Env: envPrefix + strings.ToUpper(strings.ReplaceAll(path, ".", "_")),
				Flag: strings.NewReplacer(".", "-", "_", "-").Replace(path),
				Kind: kindOf(f.Type), Default: textOf(group.Field(k)), Doc: f.Tag.Get("doc"),
			})
		}
		out = append(out, s)
	}
	return out
}

// Keys are all keys, in the order of Config.
func Keys() []Key {
	var out []Key
	for _, s := range Sections() {
		out = append(out, s.Keys...)
	}
	return out
}

// PeerKeys are the keys of one element of peers.list.
func PeerKeys() []Key {
	var out []Key
	t := reflect.TypeFor[Peer]()
	for i := range t.NumField() {
		f := t.Field(i)
		out = append(out, Key{Path: f.Tag.Get("koanf"), Kind: kindOf(f.Type), Doc: f.Tag.Get("doc")})
	}
	return out
}

func kindOf(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return "duration"
	case reflect.TypeFor[MAC]():
		return "MAC address"
	case reflect.TypeFor[PortRange]():
		return "ports"
	case reflect.TypeFor[AddrRange]():
		return "addresses"
	case reflect.TypeFor[Peer]():
		return "peers"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "yes/no"
	case reflect.Int, reflect.Uint16, reflect.Uint32:
		return "number"
	case reflect.Slice:
		return "list of " + plural(kindOf(t.Elem()))
	}
	switch t.String() {
	case "netip.Addr":
		return "address"
	case "netip.Prefix":
		return "prefix"
	}
	return "text"
}

func plural(s string) string {
	switch {
	case s == "text":
		return "texts"
	case strings.HasSuffix(s, "x"), strings.HasSuffix(s, "ss"):
		return s + "es"
	case strings.HasSuffix(s, "s"):
		return s
	}
	return s + "s"
}

// textOf writes a value as it would be written in the environment.
func textOf(v reflect.Value) string {
	if v.IsZero() && v.Kind() != reflect.Bool && v.Kind() != reflect.Int {
		return ""
	}
	switch x := v.Interface().(type) {
	case time.Duration:
		return shortDuration(x)
	case encoding.TextMarshaler:
		b, _ := x.MarshalText()
		return string(b)
	}
	if v.Kind() == reflect.Slice {
		var parts []string
		for i := range v.Len() {
			parts = append(parts, textOf(v.Index(i)))
		}
		return strings.Join(parts, ",")
	}
	return fmt.Sprint(v.Interface())
}

// shortDuration leaves out the zeroes of 2h0m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}
