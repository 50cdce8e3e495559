package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"time"

	"github.com/lanyard-project/lanyard/hack/bench/internal/cases"
	"github.com/lanyard-project/lanyard/hack/bench/internal/cell"
	"github.com/lanyard-project/lanyard/hack/bench/internal/load"
	"github.com/lanyard-project/lanyard/hack/bench/internal/measure"
	"github.com/lanyard-project/lanyard/hack/bench/internal/world"
)

func operations() map[string]cell.Handler {
	var s load.Set
	return s.Ops()
}

type options struct {
	quick  bool
	rounds int
	only   *regexp.Regexp
}

func run(ctx context.Context, args []string) error {
	var o options
	only := ""
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.BoolVar(&o.quick, "quick", false, "3 short rounds: a look, not a result")
	fs.IntVar(&o.rounds, "rounds", 0, "rounds of each case (default 9, with --quick 3)")
	fs.StringVar(&only, "case", "", "only cases whose name matches this regular expression")
	if err := fs.Parse(args); err != nil {
		return err
	}
	var err error
	if o.only, err = regexp.Compile(only); err != nil {
		return fmt.Errorf("--case: %w", err)
	}
	if os.Geteuid() != 0 {
		return errors.New("it needs root: it makes network namespaces and loads BPF programs; run it as root")
	}
	plan := measure.Plan{Rounds: 9, Round: 250 * time.Millisecond, Limit: 60 * time.Second}
	if o.quick {
		plan.Rounds, plan.Round = 3, 100*time.Millisecond
	}
	if o.rounds > 0 {
		plan.Rounds = o.rounds
	}
	cpus := world.CPUs{Load: runtime.NumCPU() - 1}
	if plan.Kernel, err = measure.Softirqd(cpus.Load); err != nil {
		return err
	}
	w, err := build(cpus)
	if err != nil {
		return err
	}
	defer w.Kernel.Close()
	defer w.Veth.Close()
	all, err := w.All(ctx)
	if err != nil {
		return err
	}
	for _, c := range all {
		if !o.only.MatchString(c.Name) {
			continue
		}
		r, err := plan.Run(ctx, c)
		if err != nil {
			return err
		}
		fmt.Printf("%s (n=%d)\n", r.Title, r.N)
		for _, v := range r.Order {
			s := r.Stats[v]
			fmt.Printf("  %-10s %10.0f ns/op  (%.0f .. %.0f)\n", v, s.Median, s.Min, s.Max)
		}
		for _, q := range r.Ratios {
			fmt.Printf("  %s/%s %.2f (%.2f .. %.2f) goal %.2f\n", q.Slow, q.Fast, q.Median, q.Min, q.Max, q.Goal)
		}
	}
	return nil
}

func build(cpus world.CPUs) (cases.Worlds, error) {
	var w cases.Worlds
	var err error
	if w.Veth, err = world.Bare(cpus); err != nil {
		return w, err
	}
	w.Kernel, err = world.Kernel("kernel", false, cpus, cases.Forwards())
	return w, err
}
