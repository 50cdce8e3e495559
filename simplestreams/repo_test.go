package simplestreams

import (
	"strings"
	"testing"
)

func TestAllowList(t *testing.T) {
	a, err := NewAllowList([]string{"Netsoc/lxd-images", "lab/*"})
	if err != nil {
		t.Fatal(err)
	}
	for s, want := range map[string]bool{"netsoc/lxd-images": true, "NETSOC/LXD-Images": true, "netsoc/other": false, "lab/x": true, "labs/x": false} {
		r, err := ParseRepo(s)
		if err != nil || a.Allows(r) != want {
			t.Errorf("%s: %t, %v", s, a.Allows(r), err)
		}
	}
	if none, _ := NewAllowList(nil); none.Allows(Repo{"a", "b"}) {
		t.Error("nothing allows something")
	}
	if all, _ := NewAllowList([]string{"*"}); !all.Allows(Repo{"a", "b"}) {
		t.Error("* does not allow everything")
	}
	for _, p := range []string{"", "a", "*/b", "a/b/c", "a/../b", "../*", "a/..", "https://github.com/a/b"} {
		if _, err := NewAllowList([]string{p}); err == nil {
			t.Errorf("%q is a pattern", p)
		}
	}
}

func FuzzRepo(f *testing.F) {
	f.Add("netsoc", "lxd-images")
	f.Add("..", "x")
	f.Fuzz(func(t *testing.T, owner, name string) {
		r, err := NewRepo(owner, name)
		if err != nil {
			return
		}
		if strings.ContainsAny(r.String(), "%\\ ?#\x00") || strings.Count(r.String(), "/") != 1 || r.Name == ".." || r.Name == "." || r.Owner == ".." {
			t.Fatalf("%q %q", r.Owner, r.Name)
		}
	})
}
