package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Path of the binary in the image; process 1 of a container by convention.
const Path = "/sbin/init"

// leaseFile is where Init leaves the outcome of DHCP, for the "lease" probe.
const leaseFile = "/run/lease.json"

// Init is process 1 of a temporary webspace. It ends when LXD asks it to (SIGPWR).
func Init() int {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGPWR, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	go reap(ctx)
	go func() {
		for ctx.Err() == nil {
			if err := configure(ctx); err == nil {
				return
			} else {
				fmt.Fprintln(os.Stderr, "init:", err)
			}
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}()
	if err := Serve(ctx, Port); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "init:", err)
		return 1
	}
	return 0
}

// configure gets a lease and puts it on eth0.
func configure(ctx context.Context) error {
	if err := up("lo"); err != nil {
		return err
	}
	if err := up(Interface); err != nil {
		return err
	}
	lease, err := acquire(ctx)
	if err != nil {
		return err
	}
	if err := lease.apply(); err != nil {
		return err
	}
	b, err := json.Marshal(lease)
	if err != nil {
		return err
	}
	if err := os.WriteFile(leaseFile+".new", b, 0o644); err != nil {
		return err
	}
	return os.Rename(leaseFile+".new", leaseFile)
}

// reap takes the exit codes of orphans, as process 1 must.
func reap(ctx context.Context) {
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	defer signal.Stop(children)
	for {
		select {
		case <-children:
		case <-ctx.Done():
			return
		}
		for {
			pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
			if pid <= 0 || err != nil {
				break
			}
		}
	}
}
