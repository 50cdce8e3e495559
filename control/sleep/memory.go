package sleep

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// Memory is the node's at one moment.
type Memory struct {
	Total, Available uint64 // bytes; Available is what could be used without swapping
	// Stalled is how much of the last ten seconds all processes waited for memory, percent (PSI's "full avg10").
	Stalled float64
	PSI     bool // the kernel keeps Stalled
}

// Gauge tells how the node's memory is; Proc is the real one.
type Gauge interface {
	Memory() (Memory, error)
}

// Proc reads /proc of this machine.
type Proc struct{ Root string } // "" is /proc

// Memory reads meminfo, and pressure/memory where the kernel has it (CONFIG_PSI, and psi=1 on some).
func (p Proc) Memory() (Memory, error) {
	root := p.Root
	if root == "" {
		root = "/proc"
	}
	text, err := os.ReadFile(root + "/meminfo")
	if err != nil {
		return Memory{}, fmt.Errorf("read how much memory is free: %w", err)
	}
	m, err := parseMeminfo(text)
	if err != nil {
		return Memory{}, err
	}
	text, err = os.ReadFile(root + "/pressure/memory")
	if err != nil {
		// Not there, or "operation not supported" when it is compiled in and turned off.
		if errors.Is(err, fs.ErrNotExist) || !errors.Is(err, fs.ErrPermission) {
			return m, nil
		}
		return m, fmt.Errorf("read how long processes waited for memory: %w", err)
	}
	m.Stalled, m.PSI = parsePressure(text)
	return m, nil
}

func parseMeminfo(text []byte) (Memory, error) {
	var m Memory
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 2 {
			continue
		}
		n, err := strconv.ParseUint(f[1], 10, 54) // kB
		if err != nil {
			continue
		}
		switch f[0] {
		case "MemTotal:":
			m.Total = n << 10
		case "MemAvailable:":
			m.Available = n << 10
		}
	}
	if m.Total == 0 || m.Available > m.Total {
		return Memory{}, errors.New("/proc/meminfo says nothing of use")
	}
	return m, nil
}

// parsePressure reads "full avg10=0.12 avg60=..." (Documentation/accounting/psi.rst).
func parsePressure(text []byte) (full float64, ok bool) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 2 || f[0] != "full" {
			continue
		}
		v, found := strings.CutPrefix(f[1], "avg10=")
		n, err := strconv.ParseFloat(v, 64)
		return n, found && err == nil && n >= 0 && n <= 100
	}
	return 0, false
}
