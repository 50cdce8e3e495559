package dataplane

import (
	"fmt"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// ticks reads the kernel's count of timer ticks (jiffies), which programs note because it costs them nothing. No system call
// tells it; a program of two instructions does.
type ticks struct {
	mu   sync.Mutex
	prog *ebpf.Program
}

// tick is one reading. Only the low half of the count is told: 24 days and more, of which the difference is right.
type tick struct {
	at     time.Time
	count  uint32
	length time.Duration
}

func (t *ticks) now() (tick, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	// The coarse clocks advance with the ticks.
	var ts unix.Timespec
	if err := unix.ClockGetres(unix.CLOCK_MONOTONIC_COARSE, &ts); err != nil {
		return tick{}, fmt.Errorf("ask for the length of a tick: %w", err)
	}
	if t.prog == nil {
		prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
			Name: "ticks", Type: ebpf.SchedCLS, License: "Dual BSD/GPL",
			Instructions: asm.Instructions{asm.FnJiffies64.Call(), asm.Return()},
		})
		if err != nil {
			return tick{}, refused(err)
		}
		t.prog = prog
	}
	count, err := t.prog.Run(&ebpf.RunOptions{Data: make([]byte, 64)})
	if err != nil {
		return tick{}, fmt.Errorf("read the kernel's count of ticks: %w", err)
	}
	return tick{at: time.Now(), count: count, length: time.Duration(ts.Nano())}, nil
}

// wall is the time of people at which the count was so.
func (t tick) wall(count uint64) time.Time {
	return t.at.Add(-time.Duration(t.count-uint32(count)) * t.length)
}

func (t *ticks) close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.prog == nil {
		return nil
	}
	prog := t.prog
	t.prog = nil
	return prog.Close()
}
