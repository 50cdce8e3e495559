package lxdtest

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/hack/lab"
	"github.com/lanyard-project/lanyard/webspace"
)

const image = "tiny"

// newLab builds a lab with LXD on each node and a tiny image in it, for the length of the test.
func newLab(t *testing.T, nodes int) *lab.Lab {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	l, err := lab.New(ctx, lab.Options{Nodes: nodes, Dir: filepath.Join(t.TempDir(), "lab")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	file := filepath.Join(t.TempDir(), "tiny.tar.gz")
	if err := writeImage(file); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Node(1).LXC(ctx, "image", "import", file, "--alias", image); err != nil {
		t.Fatal(err)
	}
	return l
}

// socket of a node's LXD, as seen from this process.
func socket(n *lab.Node) string { return fmt.Sprintf("/proc/%d/root/var/lib/lxd/unix.socket", n.Pid) }

func store(t *testing.T, n *lab.Node, timeout time.Duration) *webspace.Store {
	t.Helper()
	s, err := webspace.Connect(webspace.Options{Address: socket(n), Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// initScript is PID 1 of the image: it does nothing until it is asked to go.
const initScript = `#!/bin/sh
trap 'exit 0' PWR TERM
ip link set lo up
while :; do sleep 3600 & wait $!; done
`

// writeImage makes a container image of one static busybox.
func writeImage(path string) error {
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return fmt.Errorf("make a test image: %w; next: apt-get install busybox-static", err)
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	z, _ := gzip.NewWriterLevel(f, gzip.BestSpeed)
	w := tar.NewWriter(z)
	metadata := "architecture: x86_64\ncreation_date: 1700000000\nproperties: {os: tiny, description: tiny}\n"
	files := []struct {
		name, link string
		mode       int64
		data       []byte
	}{
		{name: "metadata.yaml", mode: 0o644, data: []byte(metadata)},
		{name: "rootfs/bin/busybox", mode: 0o755, data: busybox},
		{name: "rootfs/sbin/init", mode: 0o755, data: []byte(initScript)},
		{name: "rootfs/bin/sh", link: "busybox"}, {name: "rootfs/bin/ip", link: "busybox"}, {name: "rootfs/bin/sleep", link: "busybox"},
	}
	for _, d := range []string{"", "bin", "sbin", "proc", "sys", "dev", "etc", "root", "tmp", "run", "var"} {
		if err := w.WriteHeader(&tar.Header{Name: "rootfs/" + d, Typeflag: tar.TypeDir, Mode: 0o755}); err != nil {
			return err
		}
	}
	for _, e := range files {
		h := &tar.Header{Name: e.name, Mode: e.mode, Size: int64(len(e.data)), Typeflag: tar.TypeReg}
		if e.link != "" {
			h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, e.link, 0o777
		}
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		if _, err := w.Write(e.data); err != nil {
			return err
		}
	}
	for _, c := range []interface{ Close() error }{w, z} {
		if err := c.Close(); err != nil {
			return err
		}
	}
	return nil
}
