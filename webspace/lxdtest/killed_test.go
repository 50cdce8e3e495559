package lxdtest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/lanyard-project/lanyard/hack/lab"
	"github.com/lanyard-project/lanyard/webspace"
	"github.com/lanyard-project/lanyard/webspace/faults"
)

// creator, in the environment, makes this program create a webspace instead of running tests: "<socket> <uid>".
const creator = "LANYARD_TEST_CREATOR"

func TestMain(m *testing.M) {
	socket, uid, ok := strings.Cut(os.Getenv(creator), " ")
	if !ok {
		os.Exit(m.Run())
	}
	n, err := strconv.Atoi(uid)
	var s *webspace.Service
	if err == nil {
		s, err = newService(socket, nil)
	}
	if err == nil {
		_, err = s.Create(context.Background(), killedSpec(n), nil)
	}
	fmt.Println(err)
	os.Exit(1)
}

func killedSpec(uid int) webspace.CreateSpec {
	return webspace.CreateSpec{UID: uid, Image: Image, Password: "secret", SSHKeys: []string{publicKey}}
}

// killed kills a process at each request of a creation: what it leaves is removed by the next one, either at once when its
// member tries again, or by itself; and it keeps neither name nor address from anybody.
func killed(t *testing.T, s *webspace.Service, n *lab.Node) {
	count := faults.New(t, Socket(n))
	total, looks := 0, 0
	count.Set(func(n int, r *http.Request) faults.Fault {
		if total = n; r.Method == http.MethodGet && r.URL.Path == "/1.0/instances" {
			looks++
		}
		return faults.None
	})
	first, err := service(t, count.Socket, nil).Create(t.Context(), killedSpec(800), nil)
	if err != nil {
		t.Fatal(err)
	}
	if looks > 2 { // one of them is the first of all of a Service
		t.Errorf("all webspaces were listed %d times for one creation", looks)
	}
	var g errgroup.Group
	g.SetLimit(3)
	for which := 2; which <= total; which++ {
		g.Go(func() error { return kill(t, s, n, 800+which, which) })
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	if err := s.Delete(t.Context(), first.UID); err != nil {
		t.Error(err)
	}
}

func kill(t *testing.T, s *webspace.Service, n *lab.Node, uid, which int) error {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	p := faults.New(t, Socket(n))
	reached := make(chan struct{})
	p.Set(func(n int, _ *http.Request) faults.Fault {
		if n == which {
			close(reached)
		}
		if n >= which {
			return faults.Silent
		}
		return faults.None
	})
	program, err := os.Executable()
	if err != nil {
		return err
	}
	c := exec.CommandContext(ctx, program)
	c.Env = append(os.Environ(), creator+"="+p.Socket+" "+strconv.Itoa(uid))
	var out strings.Builder
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	select {
	case <-reached:
	case <-ended: // it needed fewer than the first: how often it asks LXD how far it is depends on the machine
		if out.String() != "<nil>\n" {
			return fmt.Errorf("request %d was not reached: %s", which, out.String())
		}
		return s.Delete(ctx, uid)
	case <-ctx.Done():
	}
	left, look := s.Get(ctx, uid) // before the creation, there is nothing yet
	_ = c.Process.Kill()
	if err := <-ended; out.Len() > 0 || look != nil && !errors.Is(look, webspace.ErrNotFound) {
		return fmt.Errorf("request %d: it ended before it was killed (%w): %s, %w", which, err, out.String(), look)
	}
	next := service(t, Socket(n), nil)          // as a daemon that is started again
	if look == nil && left.HeldUntil.IsZero() { // it was complete, and only the answer is missing
		if _, err := next.Create(ctx, killedSpec(uid), nil); !errors.Is(err, webspace.ErrExists) {
			return fmt.Errorf("request %d: it was complete, and a retry: %w", which, err)
		}
		return next.Delete(ctx, uid)
	}
	if which%2 == 0 {
		run, stop := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- next.Run(run) }()
		eventually(t, fmt.Sprintf("what was left at request %d is removed", which), func() error {
			if _, err := s.Get(ctx, uid); !errors.Is(err, webspace.ErrNotFound) {
				return fmt.Errorf("get: %w", err)
			}
			return nil
		})
		stop()
		if err := <-ended; err != nil {
			return err
		}
	}
	i, err := next.Create(ctx, killedSpec(uid), nil)
	if err != nil {
		return fmt.Errorf("request %d: a retry: %w", which, err)
	}
	if left.Record.Address.IsValid() && left.Record.Address != i.Record.Address {
		return fmt.Errorf("request %d: %s is still taken, it has got %s", which, left.Record.Address, i.Record.Address)
	}
	return next.Delete(ctx, uid)
}
