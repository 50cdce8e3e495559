package wakes

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lanyard-project/lanyard/control/node/nodeapi"
	"github.com/lanyard-project/lanyard/control/wake"
	"github.com/lanyard-project/lanyard/dataplane"
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
}

func newWorld(ctx context.Context, log *slog.Logger) (*world, error) {
	l, err := lab.New(ctx, lab.Options{Nodes: 1, Config: config, Log: log})
	if err != nil {
		return nil, err
	}
	w := &world{lab: l, node: l.Node(1)}
	w.box = wake.NewContainersUnder(w.node.Cgroup(), "default")
	if w.store, err = w.node.Store(); err != nil {
		return nil, fmt.Errorf("%w (and: %v)", err, l.Close())
	}
	return w, nil
}

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
	var took time.Duration
	err := w.lab.Client.Do(func() error {
		began := time.Now()
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
		took = time.Since(began)
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

// look is how often a container that starts is looked at: how late its readiness may be seen.
const look = 200 * time.Microsecond

// accepts waits until a webspace that is being started has its address and its port listens, and says when: what LXD
// alone needs for it, without a packet that could help or disturb. It looks from a thread that goes before all others,
// or else a busy machine would make it see everything late.
func (w *world) accepts(ctx context.Context, s *lab.Webspace) (at time.Time, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err = first(); err == nil {
			at, err = w.watch(ctx, s)
		}
	}()
	<-done
	return at, err
}

// first puts this thread before all ordinary ones.
func first() error {
	err := unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}, 0)
	if err != nil {
		return fmt.Errorf("watch a start in time: %w; likely cause: not root, or a control group without real time; next: run it as root", err)
	}
	return nil
}

func (w *world) watch(ctx context.Context, s *lab.Webspace) (time.Time, error) {
	var at wake.Container
	for end := time.Now().Add(patience); ; {
		if time.Now().After(end) || ctx.Err() != nil {
			return time.Time{}, fmt.Errorf("%s did not come to listen within %v", s.Name, patience)
		}
		pause := unix.NsecToTimespec(look.Nanoseconds())
		_ = unix.Nanosleep(&pause, nil)
		var err error
		if at.Pid == 0 {
			if at, err = w.box.Find(s.Name); err != nil {
				continue
			}
		}
		sockets, err := w.box.Sockets(at, s.IP)
		if err != nil {
			at = wake.Container{} // it was one on its way down
			continue
		}
		if sockets.Addressed && sockets.Open[wake.Port{Proto: dataplane.TCP, Port: echo}] {
			return time.Now(), nil
		}
	}
}

// write leaves results in a folder.
func write(dir, name string, text []byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name), text, 0o644)
}
