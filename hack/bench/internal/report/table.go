package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lanyard-project/lanyard/hack/bench/internal/cases"
	"github.com/lanyard-project/lanyard/hack/bench/internal/measure"
)

func (m Machine) String() string {
	return fmt.Sprintf("%s, %d cores (%s), %.0f GB, Linux %s", m.CPU, m.Cores, m.Virtual, float64(m.Memory)/(1<<30), m.Kernel)
}

// micros prints nanoseconds as microseconds with three digits.
func micros(ns float64) string {
	us := ns / 1000
	switch {
	case us < 10:
		return fmt.Sprintf("%.2f", us)
	case us < 100:
		return fmt.Sprintf("%.1f", us)
	}
	return fmt.Sprintf("%.0f", us)
}

// goals is the table that a reader wants first: each goal, what was measured, and why where it was missed.
func goals(r *Report, notes map[string]string) string {
	var b strings.Builder
	b.WriteString("| path | ratio | goal | measured (least to most) | reached |\n|---|---|--:|--:|---|\n")
	why := []string{}
	explain := func(name, pair, title, missing string) {
		text, ok := notes[name+" "+pair]
		if !ok {
			text, ok = notes[name]
		}
		if !ok {
			text = "No reason has been written down yet."
		}
		why = append(why, fmt.Sprintf("- **%s** (%s): %s", title, missing, text))
	}
	for _, x := range r.Results {
		for _, q := range x.Ratios {
			if q.Goal == 0 {
				continue
			}
			reached := "yes"
			if !q.Reached() {
				reached = "**no**"
				explain(x.Name, q.Slow+"/"+q.Fast, x.Title, fmt.Sprintf("%s / %s %.2f instead of %.2f, %.0f %% short%s", q.Slow, q.Fast, q.Median, q.Goal, 100*(1-q.Median/q.Goal), limit(x, q)))
			}
			fmt.Fprintf(&b, "| %s | %s / %s | %.2f | **%.2f** (%.2f to %.2f) | %s |\n", x.Title, q.Slow, q.Fast, q.Goal, q.Median, q.Min, q.Max, reached)
		}
	}
	for _, f := range r.Figures {
		if f.Goal == 0 {
			continue
		}
		reached := "yes"
		if !f.Reached() {
			reached = "**no**"
			explain(f.Name, f.Variant, f.Title, fmt.Sprintf("%.1f %s instead of %.1f", f.Spread.Median, f.Unit, f.Goal))
		}
		fmt.Fprintf(&b, "| %s | | at most %.0f %s | **%.1f** (%.1f to %.1f) | %s |\n", f.Title, f.Goal, f.Unit, f.Spread.Median, f.Spread.Min, f.Spread.Max, reached)
	}
	if len(why) > 0 {
		b.WriteString("\nWhy not:\n\n" + strings.Join(why, "\n") + "\n")
	}
	return b.String()
}

// limit says what no node at all would reach.
func limit(x measure.Result, q measure.Ratio) string {
	slow, veth := x.Stats[q.Slow], x.Stats[cases.Veth]
	if q.Slow == cases.Veth || veth.Median == 0 {
		return ""
	}
	return fmt.Sprintf("; a bare veth would reach %.2f", slow.Median/veth.Median)
}

// costs is CPU time per operation in all variants.
func costs(r *Report) string {
	order := []string{cases.Lanyard, cases.XDP, cases.Kernel, cases.Proxy, cases.Veth}
	var b strings.Builder
	b.WriteString("| path | one |")
	for _, v := range order {
		b.WriteString(" " + v + " |")
	}
	b.WriteString(" kernel / lanyard | added to a veth: kernel / lanyard |\n|---|---|" + strings.Repeat("--:|", len(order)+2) + "\n")
	for _, x := range r.Results {
		fmt.Fprintf(&b, "| %s | %s |", x.Title, x.Unit)
		for _, v := range order {
			s, ok := x.Stats[v]
			if !ok {
				b.WriteString(" |")
				continue
			}
			fmt.Fprintf(&b, " **%s** (%s to %s) |", micros(s.Median), micros(s.Min), micros(s.Max))
		}
		fmt.Fprintf(&b, " %s | %s |\n", ratioOf(x), added(x))
	}
	return b.String()
}

func ratioOf(x measure.Result) string {
	i := slices.IndexFunc(x.Ratios, func(q measure.Ratio) bool { return q.Slow == cases.Kernel && q.Fast == cases.Lanyard })
	if i < 0 {
		return ""
	}
	return fmt.Sprintf("**%.2f** (%.2f to %.2f)", x.Ratios[i].Median, x.Ratios[i].Min, x.Ratios[i].Max)
}

// added compares only what a path costs beyond a bare veth: the nodes' part, without the stacks and programs at the
// ends, which no dataplane can save.
func added(x measure.Result) string {
	k, okK := x.Stats[cases.Kernel]
	l, okL := x.Stats[cases.Lanyard]
	v, okV := x.Stats[cases.Veth]
	switch {
	case !okK || !okL || !okV:
		return ""
	case l.Median <= v.Median:
		return fmt.Sprintf("%s / none", micros(k.Median-v.Median))
	}
	k.Median, l.Median = k.Median-v.Median, l.Median-v.Median
	return fmt.Sprintf("%.1f (%s / %s)", k.Median/l.Median, micros(k.Median), micros(l.Median))
}

func figures(r *Report) string {
	if len(r.Figures) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("| tables | by | median (least to most) |\n|---|---|--:|\n")
	for _, f := range r.Figures {
		fmt.Fprintf(&b, "| %s | %s | **%.2f** (%.2f to %.2f) %s |\n", f.Title, f.Variant, f.Spread.Median, f.Spread.Min, f.Spread.Max, f.Unit)
	}
	return b.String()
}

func memory(r *Report) string {
	if len(r.Maps) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("| map | entries at most | kernel memory |\n|---|--:|--:|\n")
	var sum int64
	for _, m := range r.Maps {
		sum += m.Bytes
		fmt.Fprintf(&b, "| %s | %d | %.2f MiB |\n", m.Name, m.Max, float64(m.Bytes)/(1<<20))
	}
	fmt.Fprintf(&b, "| all | | %.1f MiB |\n", float64(sum)/(1<<20))
	return b.String()
}
