// Package names measures the name server against dnsmasq: Debian's dnsperf asks both, in turn, for the same names of the
// zone and of the cache. What counts is answers per second of the server's own CPU time, and the latency at a fixed rate.
package names

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lanyard-project/lanyard/hack/bench/internal/measure"
)

// The servers.
const (
	Lanyard = "lanyard"
	Dnsmasq = "dnsmasq"
)

// Plan says how long to measure.
type Plan struct {
	Rounds  int
	Seconds int // of each server in a round, for each kind of name
	Rate    int // queries per second while latency is measured
}

// Result of one kind of name.
type Result struct {
	Name    string                    `json:"name"`
	PerCPU  map[string]measure.Spread `json:"answers_per_cpu_second"`
	P99     map[string]measure.Spread `json:"p99_ms"` // at Rate
	Lost    map[string]int            `json:"lost"`
	Ratio   measure.Spread            `json:"ratio"` // of answers per CPU second, lanyard over dnsmasq, each round for itself
	Queries int                       `json:"queries"`
}

// Run measures, and writes a table to out.
func Run(ctx context.Context, p Plan, out io.Writer) ([]Result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	dir, err := os.MkdirTemp("", "lanyard-names-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	upstream, err := serveUpstream(ctx)
	if err != nil {
		return nil, err
	}
	servers, err := start(ctx, dir, upstream)
	defer func() {
		for _, s := range servers {
			s.close()
		}
	}()
	if err != nil {
		return nil, err
	}
	var results []Result
	var files []string
	for _, kind := range []struct {
		name string
		file func(i int) string
		n    int
	}{{"zone", func(i int) string { name, _ := host(i); return name + "." + domain }, hosts},
		{"cached", func(i int) string { return fmt.Sprintf("n%d.example.org", i) }, outside}} {
		var list strings.Builder
		for i := range kind.n {
			fmt.Fprintf(&list, "%s A\n", kind.file(i))
		}
		file := filepath.Join(dir, kind.name)
		if err := os.WriteFile(file, []byte(list.String()), 0o644); err != nil {
			return nil, err
		}
		files = append(files, file)
		results = append(results, Result{Name: kind.name, PerCPU: map[string]measure.Spread{}, P99: map[string]measure.Spread{}, Lost: map[string]int{}})
	}
	// All latencies first: on a virtual machine they are longer for a while after its processors were all used.
	for i, file := range files {
		if err := p.latency(ctx, file, servers, &results[i]); err != nil {
			return nil, err
		}
	}
	for i, file := range files {
		r := &results[i]
		if err := p.load(ctx, file, servers, r); err != nil {
			return nil, err
		}
		for _, s := range servers {
			c, l := r.PerCPU[s.name], r.P99[s.name]
			fmt.Fprintf(out, "%-8s %-8s %9.0f answers per CPU second (%.0f to %.0f), p99 %.3f ms at %d/s (%.3f to %.3f), %d lost\n",
				r.Name, s.name, c.Median, c.Min, c.Max, l.Median, p.Rate, l.Min, l.Max, r.Lost[s.name])
		}
		fmt.Fprintf(out, "%-8s lanyard / dnsmasq: %.2f (%.2f to %.2f)\n", r.Name, r.Ratio.Median, r.Ratio.Min, r.Ratio.Max)
	}
	return results, nil
}

// latency measures answers at a modest rate: in twice as many rounds as load, of half their length.
func (p Plan) latency(ctx context.Context, file string, servers []*server, r *Result) error {
	p99 := map[string][]float64{}
	turn := slices.Clone(servers)
	for _, s := range turn { // every name is known, once
		if _, err := s.perf(ctx, file, "-n", "3"); err != nil {
			return err
		}
	}
	for range 2 * p.Rounds {
		for _, s := range turn {
			got, err := s.perf(ctx, file, "-l", strconv.Itoa((p.Seconds+1)/2), "-Q", strconv.Itoa(p.Rate), "-v")
			if err != nil {
				return err
			}
			p99[s.name] = append(p99[s.name], got.quantile(0.99))
			r.Lost[s.name] += got.lost
		}
		slices.Reverse(turn)
	}
	for name, list := range p99 {
		r.P99[name] = measure.SpreadOf(list)
	}
	return nil
}

// load measures what an answer costs when as many are asked for as can be given.
func (p Plan) load(ctx context.Context, file string, servers []*server, r *Result) error {
	perCPU := map[string][]float64{}
	turn := slices.Clone(servers)
	for range p.Rounds {
		for _, s := range turn {
			clock := measure.Process(s.cmd.Process.Pid)
			before, err := clock()
			if err != nil {
				return err
			}
			got, err := s.perf(ctx, file, "-l", strconv.Itoa(p.Seconds), "-q", "100", "-c", "4")
			if err != nil {
				return err
			}
			after, err := clock()
			if err != nil {
				return err
			}
			perCPU[s.name] = append(perCPU[s.name], float64(got.completed)/(after-before).Seconds())
			r.Lost[s.name] += got.lost
			r.Queries += got.completed
		}
		slices.Reverse(turn)
	}
	var ratios []float64
	for i, x := range perCPU[Lanyard] {
		ratios = append(ratios, x/perCPU[Dnsmasq][i])
	}
	r.Ratio = measure.SpreadOf(ratios)
	for name, list := range perCPU {
		r.PerCPU[name] = measure.SpreadOf(list)
	}
	return nil
}

// run is what dnsperf says.
type run struct {
	completed, lost int
	latencies       []float64 // ms, with -v
}

func (r run) quantile(q float64) float64 {
	if len(r.latencies) == 0 {
		return 0
	}
	slices.Sort(r.latencies)
	return r.latencies[min(int(q*float64(len(r.latencies))), len(r.latencies)-1)]
}

var (
	completed = regexp.MustCompile(`Queries completed:\s+(\d+)`)
	lost      = regexp.MustCompile(`Queries lost:\s+(\d+)`)
	latency   = regexp.MustCompile(`^> NOERROR \S+ A ([0-9.]+)`)
)

func (s *server) perf(ctx context.Context, file string, args ...string) (run, error) {
	var r run
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "dnsperf", append([]string{"-s", s.addr.Addr().String(), "-p", strconv.Itoa(int(s.addr.Port())), "-d", file}, args...)...)
	// To a file, and read when it has ended: on two cores a reader beside it would be measured as well.
	out, err := os.CreateTemp(filepath.Dir(file), "dnsperf-")
	if err != nil {
		return r, err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	cmd.Stdout = out
	if err := cmd.Run(); err != nil {
		return r, fmt.Errorf("dnsperf against %s: %w; if it is missing: hack/install.sh test", s.name, err)
	}
	if _, err := out.Seek(0, io.SeekStart); err != nil {
		return r, err
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if m := latency.FindStringSubmatch(lines.Text()); m != nil {
			if x, err := strconv.ParseFloat(m[1], 64); err == nil {
				r.latencies = append(r.latencies, x*1000)
			}
		}
		if m := completed.FindStringSubmatch(lines.Text()); m != nil {
			r.completed, _ = strconv.Atoi(m[1])
		}
		if m := lost.FindStringSubmatch(lines.Text()); m != nil {
			r.lost, _ = strconv.Atoi(m[1])
		}
	}
	if err := lines.Err(); err != nil {
		return r, err
	}
	if r.completed == 0 {
		return r, fmt.Errorf("dnsperf got no answer of %s", s.name)
	}
	return r, nil
}

// Write keeps results as JSON.
func Write(file string, results []Result) error {
	b, err := json.MarshalIndent(results, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}
