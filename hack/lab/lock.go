package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lock takes a folder for this process alone, among those that lock it; it ends with unlock, or with the process.
func lock(ctx context.Context, dir string, limit time.Duration) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	err = poll(ctx, limit, func() error {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err != nil && !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return stop(err)
		}
		return err
	})
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w; likely cause: another test builds there, or hangs; next: fuser -v %s", dir, err, dir)
	}
	return func() { f.Close() }, nil
}
