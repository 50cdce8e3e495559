package version

import (
	"cmp"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/semver"
	"pgregory.net/rapid"
)

var day = time.Date(2021, 11, 30, 13, 0, 0, 0, time.UTC)

func parse(t interface{ Fatal(...any) }, s string) Version {
	v, err := Parse(s)
	if err != nil {
		t.Fatal(s, err)
	}
	return v
}

// In ascending order.
var ladder = []string{
	"0.0.1-1", "0.0.1", "0.9.0", "0.10.0", "1.0.0-0", "1.0.0-9", "1.0.0-10", "1.0.0-99999", "1.0.0-100000", "1.0.0--", "1.0.0-alpha",
	"1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-alpha-", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0-rc1", "1.0.0",
	"1.9.0", "1.10.0", "1.9999.0", "1.10000.0", "1.100000.0", "20.10.8-1", "20.10.8-9", "20.10.8-10", "20.10.8", "20210811.0.0", "202108110.0.0",
	"9999999999999999999999999999999999.0.0", "10000000000000000000000000000000000.0.0",
}

func TestLadder(t *testing.T) {
	for i := range ladder {
		for j := range ladder {
			v, w := parse(t, ladder[i]), parse(t, ladder[j])
			if got := v.Compare(w); got != cmp.Compare(i, j) {
				t.Errorf("%s against %s: %d", v, w, got)
			}
			if got := strings.Compare(Serial(day, v), Serial(day, w)); got != cmp.Compare(i, j) {
				t.Errorf("%s against %s: %d", Serial(day, v), Serial(day, w), got)
			}
		}
	}
}

func TestSerial(t *testing.T) {
	for version, want := range map[string]string{
		"1.10.0":        "20211130_0001.0010.0000_v1.10.0",
		"20.10.8-1":     "20211130_0020.0010.0008-0001+v20.10.8-1",
		"1.0.0-rc.1+x":  "20211130_0001.0000.0000-~rc,0001+v1.0.0-rc.1+x",
		"20210811.0.12": "20211130_d20210811.0000.0012_v20210811.0.12",
	} {
		if got := Serial(day, parse(t, version)); got != want {
			t.Errorf("%s: %s, want %s", version, got, want)
		}
	}
}

func TestStrict(t *testing.T) {
	for _, s := range []string{"", "1", "1.2", "1.2.3.4", "v1.2.3", "01.2.3", "1.02.3", "1.2.3-", "1.2.3-01", "1.2.3-a..b", "1.2.3+", "1.2.3+a+b",
		"1.2.3-ä", "1.2.3 ", "1..3", "-1.2.3", "1.2.3/4", "1.2.3-a/../b", "1.0." + strings.Repeat("9", 61)} {
		if v, err := Parse(s); err == nil {
			t.Errorf("%q is %v", s, v)
		}
	}
}

// versions draws small ones, so that near misses are many.
var versions = rapid.Custom(func(t *rapid.T) string {
	n := rapid.SampledFrom([]string{"0", "1", "2", "9", "10", "11", "99", "1000", "9999", "10000", "99999", "100000", "123456789012345678901234567890"})
	s := fmt.Sprintf("%s.%s.%s", n.Draw(t, "major"), n.Draw(t, "minor"), n.Draw(t, "patch"))
	if len(s) > 50 {
		s = "1.0.0"
	}
	id := rapid.OneOf(n, rapid.StringMatching(`[a-cA-C-][a-c0-2-]{0,3}`))
	for i := range rapid.IntRange(0, 3).Draw(t, "identifiers") {
		next := s + string(".-"[1-min(i, 1)]) + id.Draw(t, "identifier")
		if len(next) > MaxLength {
			break
		}
		s = next
	}
	return s
})

func TestOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := versions.Draw(t, "a"), versions.Draw(t, "b")
		v, w := parse(t, a), parse(t, b)
		if v.String() != a {
			t.Fatalf("%s became %s", a, v)
		}
		want := semver.Compare("v"+a, "v"+b)
		if got := v.Compare(w); got != want {
			t.Fatalf("%s against %s: %d, want %d", a, b, got, want)
		}
		if got := strings.Compare(Serial(day, v), Serial(day, w)); got != want {
			t.Fatalf("%s against %s: %d, want %d", Serial(day, v), Serial(day, w), got, want)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range ladder {
		f.Add(s)
	}
	f.Add("1.0.0-rc.1+build.5")
	f.Fuzz(func(t *testing.T, s string) {
		v, err := Parse(s)
		if err != nil {
			return
		}
		if v.String() != s || !semver.IsValid("v"+s) {
			t.Fatalf("%q became %q", s, v)
		}
		serial := Serial(day, v)
		if strings.ContainsAny(serial, "/\\ \"'%?#<>\x00") || serial[:8] != "20211130" {
			t.Fatalf("%q has the serial %q", s, serial)
		}
	})
}
