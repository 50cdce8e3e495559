package lxdtest

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/hack/lab"
	"github.com/lanyard-project/lanyard/webspace"
)

// Image is the alias of an image that a lab has.
const Image = lab.Tiny

// New builds a lab with LXD on each node for the length of the test.
func New(t *testing.T, nodes int) *lab.Lab {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	l, err := lab.New(ctx, lab.Options{Nodes: nodes, NoDaemon: true, Dir: filepath.Join(t.TempDir(), "lab")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// Socket of a node's LXD, as seen from this process.
func Socket(n *lab.Node) string { return fmt.Sprintf("/proc/%d/root/var/lib/lxd/unix.socket", n.Pid) }

// Store of a node's LXD.
func Store(t *testing.T, n *lab.Node, timeout time.Duration) *webspace.Store {
	t.Helper()
	s, err := webspace.Connect(webspace.Options{Address: Socket(n), Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
