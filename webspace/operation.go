package webspace

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/lxc/incus/shared/api"
)

// Operation is something that LXD is doing with a webspace right now: an exec, a console, a backup, a start.
type Operation struct {
	Instance string
	What     string // LXD's words, e.g. "Executing command"
	Since    time.Time

	id string
}

// Operations returns what LXD is doing with webspaces of the member that this Store talks to, the oldest first. It does
// not show transfers of files, which LXD does not count as operations.
func (s *Store) Operations(ctx context.Context) ([]Operation, error) {
	agent := localAgent
	if s.socket == "" {
		agent = userAgent
	}
	return s.operations(ctx, agent)
}

// working returns the id of an operation that LXD has under way to create, start or stop an instance, on any member; ""
// when there is none.
func (s *Store) working(ctx context.Context, name string) (id string, err error) {
	all, err := s.operations(ctx, userAgent)
	for _, op := range all {
		if verb, _, _ := strings.Cut(op.What, " "); op.Instance == name && slices.Contains([]string{"Creating", "Starting", "Stopping"}, verb) {
			return op.id, err
		}
	}
	return "", err
}

func (s *Store) operations(ctx context.Context, agent string) ([]Operation, error) {
	const what = "list what LXD is doing"
	resp, _, err := s.request(ctx, agent, what, http.MethodGet, "/1.0/operations", url.Values{"recursion": {"1"}}, nil, "")
	if err != nil {
		return nil, err
	}
	var byStatus map[string][]api.Operation // "running", "pending", ...
	if err := json.Unmarshal(resp.Metadata, &byStatus); err != nil {
		return nil, &Problem{What: "could not " + what, Cause: "LXD's answer cannot be read: " + err.Error(), Next: "compare versions: lxd --version", Err: err}
	}
	var out []Operation
	for _, list := range byStatus {
		for _, op := range list {
			if op.StatusCode.IsFinal() {
				continue
			}
			for _, name := range s.named(op.Resources) {
				out = append(out, Operation{Instance: name, What: op.Description, Since: op.CreatedAt, id: op.ID})
			}
		}
	}
	slices.SortFunc(out, func(a, b Operation) int { return a.Since.Compare(b.Since) })
	return out, nil
}

// named picks the webspaces out of an operation's resources, each once: LXD lists an instance as a container as well.
func (s *Store) named(resources map[string][]string) []string {
	var names []string
	for _, kind := range []string{"instances", "containers"} {
		for _, r := range resources[kind] {
			path, _, _ := strings.Cut(r, "?")
			parts := strings.Split(strings.Trim(path, "/"), "/") // 1.0/instances/<name>[/snapshots/...]
			if len(parts) < 3 {
				continue
			}
			if _, ok := parseName(s.o.Prefix, parts[2]); ok && !slices.Contains(names, parts[2]) {
				names = append(names, parts[2])
			}
		}
	}
	return names
}
