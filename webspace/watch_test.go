package webspace

import (
	"slices"
	"strings"
	"testing"
)

func TestOrdered(t *testing.T) {
	s := &Store{o: Options{Prefix: "ws-"}}
	const begun = `{"type":"operation","metadata":{"description":"Stopping instance","status_code":103,"resources":{"instances":["/1.0/instances/ws-u7"],"containers":["/1.0/containers/ws-u7"]}}}`
	for _, what := range []string{Starting, Stopping, Restarting} {
		text := strings.Replace(begun, Stopping, what, 1)
		if got := s.ordered([]byte(text)); !slices.Equal(got, []Order{{"ws-u7", what}}) {
			t.Errorf("%s: %v", text, got)
		}
	}
	for name, text := range map[string]string{
		"what may have been missed": "",
		"broken":                    begun[:50],
		"it has ended":              `{"metadata":{"description":"Stopping instance","status_code":200,"resources":{"instances":["/1.0/instances/ws-u7"]}}}`,
		"something else":            `{"metadata":{"description":"Freezing instance","status_code":103,"resources":{"instances":["/1.0/instances/ws-u7"]}}}`,
		"of another shape":          `{"metadata":["Stopping instance"]}`,
		"an instance of others":     `{"metadata":{"description":"Stopping instance","status_code":103,"resources":{"instances":["/1.0/instances/db"]}}}`,
	} {
		if got := s.ordered([]byte(text)); len(got) != 0 {
			t.Errorf("%s: %v", name, got)
		}
	}
}
