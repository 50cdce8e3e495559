package version

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
)

// MaxLength of a version, in bytes.
const MaxLength = 64

// Version is a semantic version without its leading v.
type Version struct {
	Numbers [3]string // major, minor, patch: decimal, without leading zeroes
	Pre     []string  // identifiers of a prerelease
	Build   string    // has no part in the order
}

var errForm = errors.New("it is not MAJOR.MINOR.PATCH, with a -PRERELEASE or +BUILD at most (semver.org)")

// Parse reads a version, strictly.
func Parse(s string) (Version, error) {
	if len(s) > MaxLength {
		return Version{}, fmt.Errorf("a version has at most %d characters", MaxLength)
	}
	var v Version
	rest, build, hasBuild := strings.Cut(s, "+")
	core, pre, hasPre := strings.Cut(rest, "-")
	if hasBuild {
		for id := range strings.SplitSeq(build, ".") {
			if !identifier(id) {
				return Version{}, errForm
			}
		}
		v.Build = build
	}
	numbers := strings.Split(core, ".")
	if len(numbers) != 3 {
		return Version{}, errForm
	}
	for i, n := range numbers {
		if !numeric(n) || n != "0" && n[0] == '0' {
			return Version{}, errForm
		}
		v.Numbers[i] = n
	}
	if hasPre {
		for id := range strings.SplitSeq(pre, ".") {
			if !identifier(id) || numeric(id) && id != "0" && id[0] == '0' {
				return Version{}, errForm
			}
			v.Pre = append(v.Pre, id)
		}
	}
	return v, nil
}

// String is what Parse read.
func (v Version) String() string {
	s := strings.Join(v.Numbers[:], ".")
	if len(v.Pre) > 0 {
		s += "-" + strings.Join(v.Pre, ".")
	}
	if v.Build != "" {
		s += "+" + v.Build
	}
	return s
}

// Compare orders by precedence (semver.org, item 11); builds are equal.
func (v Version) Compare(w Version) int {
	for i := range v.Numbers {
		if c := compareNumbers(v.Numbers[i], w.Numbers[i]); c != 0 {
			return c
		}
	}
	switch {
	case len(v.Pre) == 0 || len(w.Pre) == 0:
		return cmp.Compare(min(len(w.Pre), 1), min(len(v.Pre), 1)) // a release is after its prereleases
	}
	for i := range min(len(v.Pre), len(w.Pre)) {
		a, b := v.Pre[i], w.Pre[i]
		c := 0
		switch {
		case numeric(a) && numeric(b):
			c = compareNumbers(a, b)
		case numeric(a) != numeric(b):
			c = 1
			if numeric(a) {
				c = -1
			}
		default:
			c = strings.Compare(a, b)
		}
		if c != 0 {
			return c
		}
	}
	return cmp.Compare(len(v.Pre), len(w.Pre))
}

func compareNumbers(a, b string) int {
	if c := cmp.Compare(len(a), len(b)); c != 0 {
		return c
	}
	return strings.Compare(a, b)
}

func numeric(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

func identifier(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '-' {
			return false
		}
	}
	return s != ""
}
