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
	"github.com/lanyard-project/lanyard/hack/bench/internal/measure"
	"github.com/lanyard-project/lanyard/hack/bench/internal/world"
)

type options struct {
	quick, baseline bool
	rounds          int
	only            *regexp.Regexp
}

func parse(args []string) (o options, err error) {
	only := ""
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.BoolVar(&o.quick, "quick", false, "3 short rounds: a look, not a result")
	fs.BoolVar(&o.baseline, "baseline", false, "leave Lanyard out: only what it is compared with")
	fs.IntVar(&o.rounds, "rounds", 0, "rounds of each case (default 9, with --quick 3)")
	fs.StringVar(&only, "case", "", "only cases whose name matches this regular expression")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
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
	if os.Geteuid() != 0 {
		return errors.New("no privilege: it makes network namespaces and loads BPF programs; run it as root")
	}
	plan := measure.Plan{Rounds: 9, Round: 300 * time.Millisecond, Limit: 60 * time.Second}
	if o.quick {
		plan.Rounds, plan.Round = 3, 100*time.Millisecond
	}
	if o.rounds > 0 {
		plan.Rounds = o.rounds
	}
	// The last CPU: interrupts of the machine's own devices mostly go to the first.
	cpus := world.CPUs{Load: runtime.NumCPU() - 1}
	if plan.Kernel, err = measure.Softirqd(cpus.Load); err != nil {
		return err
	}
	for _, part := range []func(context.Context, options, measure.Plan, world.CPUs) error{machines, cards} {
		if err := part(ctx, o, plan, cpus); err != nil {
			return err
		}
	}
	return nil
}

// machines runs the cases between whole machines.
func machines(ctx context.Context, o options, plan measure.Plan, cpus world.CPUs) (err error) {
	b := builder{cpus: cpus, baseline: o.baseline}
	defer func() { err = errors.Join(err, b.close()) }()
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
	return measured(ctx, o, plan, all)
}

// cards runs the cases whose frames come from a network card, and those of the tables.
func cards(ctx context.Context, o options, plan measure.Plan, cpus world.CPUs) (err error) {
	b := builder{cpus: cpus, baseline: o.baseline}
	defer func() { err = errors.Join(err, b.close()) }()
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
	all = append(append(all, n.FullTable()), n.ManyFlows()...)
	if err := measured(ctx, o, plan, all); err != nil || o.baseline || !o.only.MatchString("tables") {
		return err
	}
	figures, err := n.Tables(ctx, plan.Rounds)
	for _, f := range figures {
		fmt.Printf("%-60s %8.2f %s (%.2f .. %.2f)\n", f.Title, f.Spread.Median, f.Unit, f.Spread.Min, f.Spread.Max)
	}
	return err
}

func measured(ctx context.Context, o options, plan measure.Plan, all []measure.Case) error {
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
			fmt.Printf("  %-12s %10.0f ns/op  (%.0f .. %.0f)\n", v, s.Median, s.Min, s.Max)
		}
		for _, q := range r.Ratios {
			fmt.Printf("  %s/%s %.2f (%.2f .. %.2f) goal %.2f\n", q.Slow, q.Fast, q.Median, q.Min, q.Max, q.Goal)
		}
	}
	return nil
}
