package wakes

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// Row is one thing that was measured, in milliseconds.
type Row struct {
	Title  string  `json:"title"`
	Count  int     `json:"count"`
	Median float64 `json:"median_ms"`
	P99    float64 `json:"p99_ms"` // of fewer than a hundred: the largest
	Least  float64 `json:"min_ms"`
	Most   float64 `json:"max_ms"`
}

type results struct {
	began        time.Time
	rounds, many int
	rows         []Row
}

func (r *results) add(title string, list []time.Duration) {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	row := Row{Title: title, Count: len(list), Median: ms(quantile(list, 0.5)), P99: ms(quantile(list, 0.99)), Least: ms(quantile(list, 0)), Most: ms(quantile(list, 1))}
	r.rows = append(r.rows, row)
	fmt.Fprintf(os.Stderr, "%-60s %9.2f ms median, %9.2f p99 (%.2f to %.2f, %d times)\n", title, row.Median, row.P99, row.Least, row.Most, row.Count)
}

// write leaves wake.json and wake.md.
func (r *results) write(dir string) error {
	if dir == "" {
		return nil
	}
	machine := fmt.Sprintf("%d CPUs, %s", runtime.NumCPU(), runtime.GOARCH)
	if out, err := exec.Command("uname", "-r").Output(); err == nil {
		machine += ", kernel " + strings.TrimSpace(string(out))
	}
	b, err := json.MarshalIndent(struct {
		Date    time.Time `json:"date"`
		Machine string    `json:"machine"`
		Rounds  int       `json:"rounds"`
		Rows    []Row     `json:"rows"`
	}{r.began.UTC(), machine, r.rounds, r.rows}, "", "  ")
	if err != nil {
		return err
	}
	var t strings.Builder
	fmt.Fprintf(&t, "# What waking costs\n\nMeasured by `make bench-wake` on %s, %s, %d rounds, with LXD's `dir` storage. Times in milliseconds.\n\n",
		r.began.UTC().Format(time.DateOnly), machine, r.rounds)
	t.WriteString("| | median | p99 | least | most | count |\n|---|---|---|---|---|---|\n")
	for _, x := range r.rows {
		fmt.Fprintf(&t, "| %s | %.2f | %.2f | %.2f | %.2f | %d |\n", x.Title, x.Median, x.P99, x.Least, x.Most, x.Count)
	}
	fmt.Fprintf(&t, `
"Accepts" is the moment since which a client outside could be answered: the container's address and default route are up,
by the kernel's own notices, and its port listens, by a stamp that the kernel makes in listen(). LXD's own start and the wake
are measured in turn, with the same webspace, the same daemons beside it, and the same onlooker, who looks every %v whether
the container is there yet. The steps of a wake are those of the node's ledger. p99 of fewer than a hundred is the largest.
`, look)
	t.WriteString(r.goals())
	switch notes, err := os.ReadFile(filepath.Join(dir, "notes.md")); { // written by hand
	case err == nil:
		t.WriteString("\n" + string(notes))
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := write(dir, "wake.json", append(b, '\n')); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "writing", dir)
	return write(dir, "wake.md", []byte(t.String()))
}

// goals sets what was measured beside what was asked for. What was not measured is left out.
func (r *results) goals() string {
	rows := make(map[string]Row)
	for _, x := range r.rows {
		rows[x.Title] = x
	}
	var t strings.Builder
	line := func(goal, measured string, reached bool) {
		fmt.Fprintf(&t, "| %s | %s | %s |\n", goal, measured, map[bool]string{true: "yes", false: "**no**"}[reached])
	}
	for _, image := range []string{"tiny", "Debian with systemd"} {
		if x, ok := rows[image+": first byte outside, after the port accepted"]; ok {
			line(image+": first byte at most 3 ms (p99 10) after the port accepts", fmt.Sprintf("%.2f (%.2f)", x.Median, x.P99), x.Median <= 3 && x.P99 <= 10)
		}
		for _, s := range []struct {
			as, words string
			most      float64
		}{{"", "whole wake", 1}, {", " + bothHooks.name, "whole wake with both hooks", 0.7}} {
			own, ok := rows[image+s.as+": LXD's own start, until the port accepts"]
			whole, there := rows[image+s.as+": whole wake, until the first byte outside"]
			if ok && there {
				ratio := whole.Median / own.Median
				line(fmt.Sprintf("%s: %s at most %.1f of LXD's own start", image, s.words, s.most), fmt.Sprintf("%.2f", ratio), ratio <= s.most)
			}
		}
	}
	warm, ok := rows["tiny: first byte, warm"]
	if nap, there := rows["tiny: first byte, napping"]; ok && there {
		line("napping: first byte within 2 ms (p99 10) of a warm one", fmt.Sprintf("%.2f (%.2f)", nap.Median-warm.Median, nap.P99-warm.P99),
			nap.Median-warm.Median <= 2 && nap.P99-warm.P99 <= 10)
	}
	if t.Len() == 0 {
		return ""
	}
	return "\n## Against the goals\n\n| goal | measured | reached |\n|---|---|---|\n" + t.String()
}
