package wakes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lanyard-project/lanyard/control/node/nodeapi"
	"github.com/lanyard-project/lanyard/control/wake"
	"github.com/lanyard-project/lanyard/hack/lab"
	"github.com/lanyard-project/lanyard/webspace"
)

const (
	echo = 7000 // of the tiny image's server
	// patience bounds every single wait.
	patience = time.Minute
	config   = "wake: {per_source: 100000, per_webspace: 100000}\n"
)

// world is a lab of one node.
type world struct {
	lab   *lab.Lab
	node  *lab.Node
	store *webspace.Store
	box   wake.Containers
	uid   int

	listens *listens
}

func newWorld(ctx context.Context, log *slog.Logger) (*world, error) {
	l, err := lab.New(ctx, lab.Options{Nodes: 1, Config: config, Log: log})
	if err != nil {
		return nil, err
	}
	w := &world{lab: l, node: l.Node(1)}
	w.box = wake.NewContainersUnder(w.node.Cgroup(), "default")
	if w.store, err = w.node.Store(); err == nil {
		w.listens, err = openListens()
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return w, nil
}

func (w *world) close() error { return errors.Join(w.listens.close(), w.lab.Close()) }

// add makes a webspace that is asleep, and waits until the node forwards to it.
func (w *world) add(ctx context.Context, image string) (*lab.Webspace, string, error) {
	w.uid++
	port := 50000 + w.uid
	s, err := w.node.AddWebspace(ctx, w.uid, lab.WebspaceOptions{Image: image, Stopped: true,
		Ports: webspace.Ports{uint16(port): echo}, UDPPorts: webspace.Ports{uint16(port): echo}})
	if err != nil {
		return nil, "", err
	}
	return s, fmt.Sprintf("%s:%d", w.node.Addr(), port), w.is(ctx, s, "asleep")
}

// is waits until the node says that a webspace is in that life.
func (w *world) is(ctx context.Context, s *lab.Webspace, life string) error {
	return lab.Eventually(ctx, patience, func() error {
		out, err := w.node.Lanyard(ctx, "status", "--json")
		if err != nil {
			return err
		}
		var st nodeapi.Status
		if err := json.Unmarshal([]byte(out), &st); err != nil {
			return err
		}
		for _, x := range st.Wake.Webspaces {
			if x.Webspace == s.Name && x.Life == life && x.Doing == "" {
				return nil
			}
		}
		return fmt.Errorf("%s is not %s", s.Name, life)
	})
}

// steps gives what the node's ledger says of the last wake: how long after the first packet each step was reached.
func (w *world) steps(ctx context.Context, s *lab.Webspace) (map[string]time.Duration, error) {
	out, err := w.node.Lanyard(ctx, "wakes", s.Name, "--json", "--limit", "1")
	if err != nil {
		return nil, err
	}
	var list nodeapi.WakePage
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return nil, err
	}
	if len(list.Wakes) != 1 || list.Wakes[0].Kind != "wake" {
		return nil, fmt.Errorf("the ledger's last entry about %s is no wake: %s", s.Name, out)
	}
	return list.Wakes[0].After, nil
}

// push writes a file into a webspace that is stopped.
func (w *world) push(ctx context.Context, s *lab.Webspace, to, text string) error {
	_, err := w.node.Input(ctx, text, "lxc", "file", "push", "--mode", "0644", "-p", "-", s.Name+to)
	return err
}

func (w *world) stop(ctx context.Context, s *lab.Webspace) error {
	if err := w.store.Stop(ctx, s.Name, 0); err != nil {
		return err
	}
	return w.is(ctx, s, "asleep")
}

// request opens a TCP connection from outside, and says how long the first byte took. speaks: the server does so first.
func (w *world) request(to string, speaks bool) (time.Duration, error) {
	began, at, err := w.ask(to, speaks)
	return at.since(began), err
}

// ask is request, with the moments of its beginning and its end.
func (w *world) ask(to string, speaks bool) (began, at stamp, err error) {
	err = w.lab.Client.Do(func() error {
		began = now()
		c, err := net.DialTimeout("tcp4", to, patience)
		if err != nil {
			return err
		}
		defer c.Close()
		if speaks {
			_ = c.SetDeadline(time.Now().Add(patience))
			if _, err := c.Read(make([]byte, 256)); err != nil {
				return err
			}
		}
		at = now()
		return nil
	})
	return began, at, err
}

// knock is request, by blocking calls on a thread that goes before all others: the client is another machine, on which nothing else
// runs. The server must speak first.
func (w *world) knock(to string) (took time.Duration, err error) {
	at, err := netip.ParseAddrPort(to)
	if err != nil {
		return 0, err
	}
	err = w.lab.Client.Do(func() error { // on a thread of its own
		if err := first(); err != nil {
			return err
		}
		s, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(s)
		limit := unix.NsecToTimeval(patience.Nanoseconds())
		if err := unix.SetsockoptTimeval(s, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil { // connect has the kernel's own
			return err
		}
		began := now()
		if err := unix.Connect(s, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}); err != nil {
			return err
		}
		for err = unix.EINTR; err == unix.EINTR; { // the runtime's signals
			_, err = unix.Read(s, make([]byte, 256))
		}
		if err != nil {
			return err
		}
		took = now().since(began)
		return nil
	})
	return took, err
}

// datagram sends one, and says how long its answer took.
func (w *world) datagram(to string) (time.Duration, error) {
	var took time.Duration
	err := w.lab.Client.Do(func() error {
		c, err := net.Dial("udp4", to)
		if err != nil {
			return err
		}
		defer c.Close()
		began := time.Now()
		if _, err := c.Write([]byte("hello")); err != nil {
			return err
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		if _, err := c.Read(make([]byte, 2048)); err != nil {
			return err
		}
		took = time.Since(began)
		return nil
	})
	return took, err
}

// write leaves results in a folder.
func write(dir, name string, text []byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name), text, 0o644)
}
