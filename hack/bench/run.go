package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"time"

	"github.com/lanyard-project/lanyard/hack/bench/internal/apibench"
	"github.com/lanyard-project/lanyard/hack/bench/internal/cases"
	"github.com/lanyard-project/lanyard/hack/bench/internal/measure"
	"github.com/lanyard-project/lanyard/hack/bench/internal/names"
	"github.com/lanyard-project/lanyard/hack/bench/internal/report"
	"github.com/lanyard-project/lanyard/hack/bench/internal/wakes"
	"github.com/lanyard-project/lanyard/hack/bench/internal/world"
)

type options struct {
	quick, baseline bool
	wake            bool
	api             bool
	dns             bool
	rounds          int
	only            *regexp.Regexp
	out, index      string
	said            []string // the flags that decide what is measured, for the report
}

func parse(args []string) (o options, err error) {
	only := ""
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.BoolVar(&o.quick, "quick", false, "3 short rounds: a look, not a result")
	fs.BoolVar(&o.api, "api", false, "measure the API with 1,000 webspaces instead; writes api.md and api.json")
	fs.BoolVar(&o.baseline, "baseline", false, "leave Lanyard out: only what it is compared with")
	fs.BoolVar(&o.wake, "wake", false, "measure waking instead: needs LXD, and the programs of make build")
	fs.BoolVar(&o.dns, "dns", false, "measure the name server instead, against dnsmasq; writes dns.json")
	fs.IntVar(&o.rounds, "rounds", 0, "rounds of each case (default 9, with --quick 3)")
	fs.StringVar(&only, "case", "", "only cases whose name matches this regular expression")
	fs.StringVar(&o.out, "out", "", "folder for the results (default docs/benchmarks/<date>; none with --quick or --case)")
	fs.StringVar(&o.index, "index", "", "measure nothing: write the pages in this folder of runs again, e.g. after a change of a notes.json")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	fs.Visit(func(f *flag.Flag) {
		if f.Name != "out" && f.Name != "index" {
			o.said = append(o.said, fmt.Sprintf("--%s=%s", f.Name, f.Value))
		}
	})
	if o.only, err = regexp.Compile(only); err != nil {
		return o, fmt.Errorf("--case: %w", err)
	}
	return o, nil
}

func run(ctx context.Context, args []string) error {
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	if o.index != "" {
		return report.Index(o.index)
	}
	if o.wake {
		return wakeUp(ctx, o)
	}
	if o.api {
		return measureAPI(ctx, o)
	}
	if o.dns {
		return nameServers(ctx, o)
	}
	plan := measure.Plan{Rounds: 9, Round: 300 * time.Millisecond}
	if o.quick {
		plan.Rounds, plan.Round = 3, 100*time.Millisecond
	}
	if o.rounds > 0 {
		plan.Rounds = o.rounds
	}
	rep, err := everything(ctx, o, plan)
	if err != nil {
		return err
	}
	if o.out == "" && (o.quick || o.baseline || o.only.String() != "") {
		return nil // a look
	}
	if o.out == "" {
		o.out = filepath.Join("docs", "benchmarks", rep.Date.Format(time.DateOnly))
	}
	fmt.Fprintln(os.Stderr, "writing", o.out)
	return rep.Write(o.out)
}

// wakeUp measures waking.
func wakeUp(ctx context.Context, o options) error {
	w := wakes.Options{Rounds: 25, Many: 50, Debian: true, Only: o.only, Out: o.out, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	if o.quick {
		w.Rounds, w.Many, w.Debian = 3, 5, false
	}
	if o.rounds > 0 {
		w.Rounds = o.rounds
	}
	if w.Out == "" && !o.quick && o.only == nil {
		w.Out = filepath.Join("docs", "benchmarks", "wake-"+time.Now().UTC().Format(time.DateOnly))
	}
	return wakes.Run(ctx, w)
}

// measureAPI measures the API; a look writes nothing.
func measureAPI(ctx context.Context, o options) error {
	if o.quick {
		return apibench.Run(ctx, apibench.Quick, o.out, os.Stderr)
	}
	if o.out == "" {
		o.out = filepath.Join("docs", "benchmarks")
	}
	return apibench.Run(ctx, apibench.Full, o.out, os.Stderr)
}

// nameServers measures the name server, and writes dns.json into the folder for the results.
func nameServers(ctx context.Context, o options) error {
	plan := names.Plan{Rounds: 5, Seconds: 4, Rate: 5000}
	if o.quick {
		plan.Rounds, plan.Seconds = 1, 1
	}
	if o.rounds > 0 {
		plan.Rounds = o.rounds
	}
	results, err := names.Run(ctx, plan, os.Stderr)
	if err != nil || o.quick && o.out == "" {
		return err
	}
	if o.out == "" {
		o.out = filepath.Join("docs", "benchmarks", time.Now().UTC().Format(time.DateOnly))
	}
	fmt.Fprintln(os.Stderr, "writing", o.out)
	return names.Write(filepath.Join(o.out, "dns.json"), results)
}

// everything measures what o asks for, for as long as plan says.
func everything(ctx context.Context, o options, plan measure.Plan) (*report.Report, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("no privilege: it makes network namespaces and loads BPF programs; run it as root")
	}
	// Everything that is measured runs on the last CPU: interrupts of the machine's own devices mostly go to the first.
	cpus := world.CPUs{Load: runtime.NumCPU() - 1}
	pid, err := measure.Softirqd(cpus.Load)
	if err != nil {
		return nil, err
	}
	plan.Kernel = measure.Process(pid)
	plan.Limit = time.Minute
	rep, err := report.New(o.said, o.quick, plan.Rounds)
	if err != nil {
		return nil, err
	}
	b := bench{options: o, plan: plan, cpus: cpus, report: rep}
	if err := b.machines(ctx); err != nil {
		return nil, err
	}
	return rep, b.cards(ctx)
}

// bench is one run.
type bench struct {
	options
	plan   measure.Plan
	cpus   world.CPUs
	report *report.Report
}

// machines runs the cases between whole machines.
func (x *bench) machines(ctx context.Context) (err error) {
	b := builder{cpus: x.cpus, baseline: x.baseline}
	defer func() { err = b.close(ctx, err) }()
	w := cases.Worlds{
		Veth:    b.bare("veth", false),
		Kernel:  b.kernel("kernel", false),
		Lanyard: b.lanyard(ctx, "lanyard", false, ""),
	}
	if b.err != nil {
		return b.err
	}
	all, err := w.All(ctx)
	if err != nil {
		return err
	}
	return x.measured(ctx, all)
}

// cards runs the cases whose frames come from a network card, and those of the tables.
func (x *bench) cards(ctx context.Context) (err error) {
	b := builder{cpus: x.cpus, baseline: x.baseline}
	defer func() { err = b.close(ctx, err) }()
	n := cases.NIC{
		Veth:    b.bare("nic-veth", true),
		Kernel:  b.kernel("nic-kernel", true),
		Lanyard: b.lanyard(ctx, "nic-lanyard", true, ""),
		XDP:     b.lanyard(ctx, "nic-xdp", true, "native"),
	}
	if b.err != nil {
		return b.err
	}
	all, err := n.All(ctx)
	if err != nil {
		return err
	}
	all = append(append(all, n.FullTable(), n.ForgedSYNs()), n.ManyFlows()...)
	if err := x.measured(ctx, all); err != nil || x.baseline || !x.only.MatchString("tables") {
		return err
	}
	if x.report.Maps, err = n.Maps(ctx); err != nil {
		return err
	}
	x.report.Figures, err = n.Tables(ctx, x.plan.Rounds)
	for _, f := range x.report.Figures {
		fmt.Fprintf(os.Stderr, "%-60s %8.2f %s (%.2f to %.2f)\n", f.Title, f.Spread.Median, f.Unit, f.Spread.Min, f.Spread.Max)
	}
	return err
}

func (x *bench) measured(ctx context.Context, all []measure.Case) error {
	for _, c := range all {
		if !x.only.MatchString(c.Name) {
			continue
		}
		r, err := x.plan.Run(ctx, c)
		if err != nil {
			return err
		}
		x.report.Results = append(x.report.Results, r)
		fmt.Fprintf(os.Stderr, "%s: %s\n", r.Name, r.Title)
		for _, v := range r.Order {
			s := r.Stats[v]
			fmt.Fprintf(os.Stderr, "  %-12s %10.0f ns/%s (%.0f to %.0f)\n", v, s.Median, r.Unit, s.Min, s.Max)
		}
		for _, q := range r.Ratios {
			fmt.Fprintf(os.Stderr, "  %s / %s: %.2f (%.2f to %.2f)", q.Slow, q.Fast, q.Median, q.Min, q.Max)
			if q.Goal > 0 {
				fmt.Fprintf(os.Stderr, ", goal %.2f", q.Goal)
			}
			fmt.Fprintln(os.Stderr)
		}
	}
	return nil
}
