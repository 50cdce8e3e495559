package archive

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Metadata is metadata.yaml, as far as clients are told of it.
type Metadata struct {
	Architecture string            `json:"architecture"` // as Debian names it: amd64, arm64
	Created      time.Time         `json:"created"`
	Expires      time.Time         `json:"expires,omitzero"`
	Properties   map[string]string `json:"properties,omitempty"` // os, release, variant, description and so on
}

const (
	maxProperties = 64
	maxValue      = 1024
)

var key = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// debian are the names of architectures that metadata and assets use. The first column is what simplestreams has.
var debian = map[string][]string{
	"amd64": {"x86_64"}, "arm64": {"aarch64"}, "i386": {"i686", "i586"}, "armhf": {"armv7l", "armv8l"}, "armel": {"armv6l"}, "ppc64el": {"ppc64le"},
	"s390x": {}, "riscv64": {}, "loong64": {"loongarch64"}, "powerpc": {"ppc"}, "ppc64": {"powerpc64"}, "mips64el": {"mips64"},
}

// Architecture gives the name that clients understand; ok is false for an unknown one.
func Architecture(name string) (string, bool) {
	if _, ok := debian[name]; ok {
		return name, true
	}
	for d, others := range debian {
		for _, o := range others {
			if o == name {
				return d, true
			}
		}
	}
	return "", false
}

// ParseMetadata reads metadata.yaml.
func ParseMetadata(b []byte) (Metadata, error) {
	if len(b) > MaxMetadata {
		return Metadata{}, fmt.Errorf("metadata.yaml is longer than %d bytes", MaxMetadata)
	}
	var raw struct {
		Architecture string         `yaml:"architecture"`
		Created      int64          `yaml:"creation_date"`
		Expires      int64          `yaml:"expiry_date"`
		Properties   map[string]any `yaml:"properties"`
	}
	if err := yaml.Unmarshal(b, &raw); err != nil {
		return Metadata{}, fmt.Errorf("metadata.yaml cannot be read: %.300v", err)
	}
	m := Metadata{Properties: map[string]string{}}
	var ok bool
	if m.Architecture, ok = Architecture(raw.Architecture); !ok {
		return Metadata{}, fmt.Errorf("metadata.yaml has the unknown architecture %.50q", raw.Architecture)
	}
	// LXD refuses an image without a date; and only four digits of a year can be told to it.
	m.Created = time.Unix(raw.Created, 0).UTC()
	if raw.Created <= 0 || m.Created.Year() > 9999 {
		return Metadata{}, errors.New("metadata.yaml has no creation_date in seconds since 1970")
	}
	if raw.Expires > 0 {
		if m.Expires = time.Unix(raw.Expires, 0).UTC(); m.Expires.Year() > 9999 {
			m.Expires = time.Time{}
		}
	}
	if len(raw.Properties) > maxProperties {
		return Metadata{}, fmt.Errorf("metadata.yaml has more than %d properties", maxProperties)
	}
	for k, v := range raw.Properties {
		switch v.(type) {
		case nil, map[string]any, []any:
			return Metadata{}, fmt.Errorf("the property %.50q in metadata.yaml is no text", k)
		}
		value := fmt.Sprint(v)
		if !key.MatchString(k) || len(value) > maxValue || !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl) {
			return Metadata{}, fmt.Errorf("the property %.50q in metadata.yaml is too long, or no text", k)
		}
		m.Properties[k] = value
	}
	return m, nil
}
