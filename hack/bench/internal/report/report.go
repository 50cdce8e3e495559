// Package report writes what was measured: JSON with every sample, a table, and a picture.
package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lanyard-project/lanyard/dataplane"
	"github.com/lanyard-project/lanyard/hack/bench/internal/cases"
	"github.com/lanyard-project/lanyard/hack/bench/internal/measure"
)

// Report is one run.
type Report struct {
	Date    time.Time `json:"date"`
	Took    float64   `json:"took_seconds"`
	Commit  string    `json:"commit"`
	Command string    `json:"command"`
	Quick   bool      `json:"quick"`
	Rounds  int       `json:"rounds"`
	Machine Machine   `json:"machine"`

	Results []measure.Result      `json:"results"`
	Figures []cases.Figure        `json:"figures"`
	Maps    []dataplane.MapStatus `json:"maps"` // of the node with 100,000 flows
}

// Machine that it ran on.
type Machine struct {
	CPU     string `json:"cpu"`
	Cores   int    `json:"cores"`
	Memory  uint64 `json:"memory_bytes"`
	Kernel  string `json:"kernel"`
	Virtual string `json:"virtual"`
	// Load is the load average of the minute before: how busy others kept the machine.
	Load float64 `json:"load"`
}

// New begins a report.
func New(args []string, quick bool, rounds int) (*Report, error) {
	m, err := thisMachine()
	if err != nil {
		return nil, fmt.Errorf("describe this machine: %w", err)
	}
	commit, err := exec.Command("git", "describe", "--always", "--dirty").Output()
	if err != nil {
		commit = []byte("unknown") // run outside of a checkout
	}
	return &Report{
		Date: time.Now().UTC().Truncate(time.Second), Commit: string(bytes.TrimSpace(commit)),
		Command: strings.Join(append([]string{"bin/bench"}, args...), " "), Quick: quick, Rounds: rounds, Machine: m,
		Results: []measure.Result{}, Figures: []cases.Figure{}, Maps: []dataplane.MapStatus{},
	}, nil
}

func thisMachine() (Machine, error) {
	m := Machine{Cores: runtime.NumCPU(), CPU: "unknown", Virtual: "no hypervisor"}
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return m, err
	}
	for line := range strings.Lines(string(info)) {
		k, v, _ := strings.Cut(line, ":")
		switch k, v = strings.TrimSpace(k), strings.TrimSpace(v); {
		case k == "model name":
			m.CPU = v
		case k == "flags" && strings.Contains(" "+v+" ", " hypervisor "):
			m.Virtual = "virtual machine"
		}
	}
	var u unix.Utsname
	var s unix.Sysinfo_t
	if err := unix.Uname(&u); err != nil {
		return m, err
	}
	if err := unix.Sysinfo(&s); err != nil {
		return m, err
	}
	m.Kernel = unix.ByteSliceToString(u.Release[:])
	m.Memory = s.Totalram * uint64(s.Unit)
	m.Load = float64(s.Loads[0]) / (1 << unix.SI_LOAD_SHIFT)
	return m, nil
}

// Write puts the report into dir and brings the index above it up to date.
func (r *Report) Write(dir string) error {
	r.Took = time.Since(r.Date).Seconds()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	raw, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "results.json"), append(raw, '\n'), 0o644); err != nil {
		return err
	}
	if err := chart(r, filepath.Join(dir, "ratios.png")); err != nil {
		return fmt.Errorf("draw the ratios: %w", err)
	}
	return Index(filepath.Dir(dir))
}

// read loads a run and the reasons that people wrote down for goals that it misses: notes.json, by the name of the case
// ("rr-local"), or of case and ratio ("rr-local veth/lanyard").
func read(dir string) (*Report, map[string]string, error) {
	raw, err := os.ReadFile(filepath.Join(dir, "results.json"))
	if err != nil {
		return nil, nil, err
	}
	var r Report
	if err := json.Unmarshal(raw, &r); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", dir, err)
	}
	notes := map[string]string{}
	raw, err = os.ReadFile(filepath.Join(dir, "notes.json"))
	if os.IsNotExist(err) {
		return &r, notes, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &notes)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s: notes.json: %w", dir, err)
	}
	return &r, notes, nil
}
