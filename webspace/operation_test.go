package webspace

import (
	"slices"
	"testing"
)

func TestNamesOfOperations(t *testing.T) {
	s, err := Connect(Options{Prefix: "ws-"})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		in   map[string][]string
		want []string
	}{
		"an exec":    {map[string][]string{"instances": {"/1.0/instances/ws-u3"}, "containers": {"/1.0/containers/ws-u3"}}, []string{"ws-u3"}},
		"a snapshot": {map[string][]string{"instances": {"/1.0/instances/ws-u3/snapshots/ws-u4?project=x"}}, []string{"ws-u3"}},
		"a project":  {map[string][]string{"instances": {"/1.0/instances/ws-u3?project=x", "/1.0/instances/ws-u4?project=x"}}, []string{"ws-u3", "ws-u4"}},
		"an image":   {map[string][]string{"images": {"/1.0/images/ws-u3"}}, nil},
		"another's":  {map[string][]string{"instances": {"/1.0/instances/db", "/1.0/instances/ws-u03", "", "/", "ws-u3"}}, nil},
		"nothing":    {nil, nil},
	} {
		if got := s.named(c.in); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
