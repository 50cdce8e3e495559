package webspace

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/pkg/sftp"
)

// A directory that a webspace has filled with files costs us a bounded amount of memory, whatever it holds.
func TestHugeDirectory(t *testing.T) {
	dir := t.TempDir()
	for n := range 400 {
		if err := os.WriteFile(filepath.Join(dir, strings.Repeat("x", 200)+strconv.Itoa(n)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	open := func() *fileConn {
		t.Helper()
		ours, theirs := net.Pipe()
		srv, err := sftp.NewServer(theirs)
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan struct{})
		go func() { defer close(served); _ = srv.Serve() }()
		m := &metered{ReadWriteCloser: ours}
		c, err := sftp.NewClientPipe(m, m)
		if err != nil {
			t.Fatal(err)
		}
		f := &fileConn{name: "ws-u3", c: c, conn: m, stop: func() bool { return true }}
		t.Cleanup(func() { f.close(); <-served })
		return f
	}
	f := open()
	if list, err := f.list(dir, 1<<20); err != nil || len(list) != 400 {
		t.Errorf("%d entries, %v", len(list), err)
	}
	if list, err := f.list(dir, 1<<20); err != nil || len(list) != 400 {
		t.Errorf("again: %d entries, %v", len(list), err)
	}
	list, err := f.list(dir, 20_000)
	if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "too many") || len(list) != 0 {
		t.Errorf("over the limit: %d entries, %v", len(list), err)
	}
	if list, err := open().list(filepath.Join(dir, "none"), 20_000); !errors.Is(err, ErrNotFound) {
		t.Errorf("%d entries, %v", len(list), err)
	}
}
