package sleep

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lanyard-project/lanyard/webspace"
)

// Groups takes back memory of napping webspaces through their control group, where the kernel can: cgroup v2 with
// memory.reclaim (5.19). What is taken back are pages that can be read again from a disk, or from swap.
type Groups struct {
	Root    string // "" is /sys/fs/cgroup
	Project string // LXD's
}

// reclaimStep is how much is asked for at once: between two of them a thaw is noticed.
const reclaimStep = 16 << 20

// ErrNoReclaim: this kernel, or its set-up, cannot.
var ErrNoReclaim = errors.New("the kernel has no memory.reclaim for containers (control groups of version 1, or without memory)")

func (g Groups) root() string {
	if g.Root == "" {
		return "/sys/fs/cgroup"
	}
	return g.Root
}

// Possible says why no webspace's memory can be taken back here: nil, or ErrNoReclaim.
func (g Groups) Possible() error {
	b, err := os.ReadFile(filepath.Join(g.root(), "cgroup.controllers"))
	if err != nil || !slices.Contains(strings.Fields(string(b)), "memory") {
		return ErrNoReclaim
	}
	return nil
}

// Reclaim takes back what it can get of a frozen webspace's memory, and says how much its control group has less. It ends
// early when the webspace goes on.
func (g Groups) Reclaim(ctx context.Context, name string) (freed int64, err error) {
	if g.Project != "" && g.Project != "default" {
		name = g.Project + "_" + name
	}
	dir := filepath.Join(g.root(), "lxc.payload."+name)
	before, err := number(filepath.Join(dir, "memory.current"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, ErrNoReclaim
	}
	if err != nil {
		return 0, fmt.Errorf("read how much memory %s has: %w", name, err)
	}
	for asked := int64(0); asked < before && ctx.Err() == nil && frozen(dir); asked += reclaimStep {
		err := ask(filepath.Join(dir, "memory.reclaim"), min(reclaimStep, before-asked))
		if errors.Is(err, fs.ErrNotExist) {
			return 0, ErrNoReclaim
		}
		if errors.Is(err, unix.EAGAIN) {
			break // there is no more to be had
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return 0, fmt.Errorf("take memory of %s back: %w", name, err)
		}
	}
	after, err := number(filepath.Join(dir, "memory.current"))
	if err != nil {
		return 0, fmt.Errorf("read how much memory %s has: %w", name, err)
	}
	return max(0, before-after), nil
}

// ask writes a number of bytes. Not by os.File: a file of a control group can be polled, so that Go would take EAGAIN for "not yet",
// and wait for ever.
func ask(file string, bytes int64) error {
	fd, err := unix.Open(file, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	_, err = unix.Write(fd, strconv.AppendInt(nil, bytes, 10))
	return errors.Join(err, unix.Close(fd))
}

func number(file string) (int64, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
}

// frozen reads cgroup.events.
func frozen(dir string) bool {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.events"))
	return err == nil && strings.Contains("\n"+string(b), "\nfrozen 1\n")
}

// nap is one that goes on.
type nap struct {
	since time.Time // it was first seen
	done  bool      // its memory was taken back
}

// lookAtNaps begins to take memory of one webspace back that has napped for long enough.
func (k *Keeper) lookAtNaps(ctx context.Context, list []Seen, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	frozen := make(map[int]bool)
	for _, s := range list {
		if s.Status != webspace.Frozen {
			continue
		}
		frozen[s.UID] = true
		n, known := k.naps[s.UID]
		if !known {
			n.since = now
		}
		if k.reclaim != nil && k.o.ReclaimAfter > 0 && !n.done && now.Sub(n.since) >= k.o.ReclaimAfter && !k.reclaiming && ctx.Err() == nil {
			n.done, k.reclaiming = true, true
			k.steps.Add(1)
			go k.takeBack(ctx, s)
		}
		k.naps[s.UID] = n
	}
	maps.DeleteFunc(k.naps, func(uid int, _ nap) bool { return !frozen[uid] })
}

// noReclaim gives up taking memory back. It is said once.
func (k *Keeper) noReclaim(err error) {
	k.reclaim, k.stats.NoReclaim = nil, err
	k.log.Info("memory of napping webspaces is not taken back", "err", err)
}

// takeBack ends with ctx, or after some megabytes.
func (k *Keeper) takeBack(ctx context.Context, s Seen) {
	defer k.steps.Done()
	freed, err := k.reclaim(ctx, s.Name)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.reclaiming = false
	k.stats.Reclaimed += freed
	switch {
	case errors.Is(err, ErrNoReclaim):
		k.noReclaim(err) // nor will it be able to later
	case err != nil:
		k.log.Warn("memory of a napping webspace could not be taken back", "webspace", s.Name, "err", err)
	case freed > 0:
		k.log.Info("took memory of a napping webspace back", "webspace", s.Name, "bytes", freed)
	}
}
