package report

import (
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/lanyard-project/lanyard/hack/bench/internal/cases"
)

// comparison is one kind of ratio, with a colour of its own (Okabe and Ito's palette, which colour-blind people can read).
type comparison struct {
	slow, fast string
	shade      color.RGBA
}

func comparisons() []comparison {
	return []comparison{
		{cases.Kernel, cases.Lanyard, color.RGBA{0, 114, 178, 255}},
		{cases.Kernel, cases.XDP, color.RGBA{0, 158, 115, 255}},
		{cases.Proxy, cases.Lanyard, color.RGBA{213, 94, 0, 255}},
		{cases.Veth, cases.Lanyard, color.RGBA{120, 120, 120, 255}},
	}
}

// ranged is points with their least and most, and the goals beside them.
type ranged struct {
	plotter.XYs
	plotter.XErrors
	goals plotter.XYs
}

// chart draws a row for each case: medians as dots, least and most as bars, goals as crosses.
func chart(r *Report, file string) error {
	p := plot.New()
	p.Title.Text = "CPU time per operation, relative to Lanyard (1 = the same)"
	p.X.Label.Text = "ratio, logarithmic; bar: least to most of all rounds; cross: goal"
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.ConstantTicks{
		{Value: 0.5, Label: "0.5"}, {Value: 0.8, Label: "0.8"}, {Value: 1, Label: "1"}, {Value: 1.25, Label: "1.25"}, {Value: 1.5, Label: "1.5"},
		{Value: 2, Label: "2"}, {Value: 3, Label: "3"}, {Value: 5, Label: "5"}, {Value: 8, Label: "8"},
	}
	names := make([]string, len(r.Results))
	for i, x := range r.Results {
		names[len(names)-1-i] = x.Title
	}
	one, err := plotter.NewLine(plotter.XYs{{X: 1, Y: -0.5}, {X: 1, Y: float64(len(names)) - 0.5}})
	if err != nil {
		return err
	}
	one.Color = color.Gray{180}
	p.Add(one, plotter.NewGrid())
	for k, c := range comparisons() {
		pts := collect(r, c, 0.16*(1.5-float64(k)))
		if len(pts.XYs) == 0 {
			continue
		}
		if err := addTo(p, c, pts); err != nil {
			return err
		}
	}
	p.NominalY(names...)
	p.Y.Min, p.Y.Max = -0.5, float64(len(names))-0.5
	p.X.Min, p.X.Max = min(p.X.Min, 0.5), max(p.X.Max, 8)
	p.Y.Tick.Label.Font = font.From(p.Y.Tick.Label.Font, 9)
	p.Legend.XOffs, p.Legend.YOffs = -vg.Centimeter, vg.Centimeter // bottom right, where no ratio is
	p.Legend.Padding = 2 * vg.Millimeter
	return p.Save(30*vg.Centimeter, vg.Length(3+len(names))*0.85*vg.Centimeter, file)
}

func collect(r *Report, c comparison, shift float64) ranged {
	var out ranged
	for i, x := range r.Results {
		y := float64(len(r.Results)-1-i) + shift
		for _, q := range x.Ratios {
			if q.Slow != c.slow || q.Fast != c.fast || q.Median == 0 {
				continue
			}
			out.XYs = append(out.XYs, plotter.XY{X: q.Median, Y: y})
			out.XErrors = append(out.XErrors, struct{ Low, High float64 }{q.Median - q.Min, q.Max - q.Median})
			if q.Goal > 0 {
				out.goals = append(out.goals, plotter.XY{X: q.Goal, Y: y})
			}
		}
	}
	return out
}

func addTo(p *plot.Plot, c comparison, pts ranged) error {
	dots, err := plotter.NewScatter(pts.XYs)
	if err != nil {
		return err
	}
	dots.GlyphStyle = draw.GlyphStyle{Color: c.shade, Radius: 3, Shape: draw.CircleGlyph{}}
	bars, err := plotter.NewXErrorBars(pts)
	if err != nil {
		return err
	}
	bars.Color = c.shade
	p.Add(dots, bars)
	p.Legend.Add(c.slow+" / "+c.fast, dots)
	if len(pts.goals) == 0 {
		return nil
	}
	goals, err := plotter.NewScatter(pts.goals)
	if err != nil {
		return err
	}
	goals.GlyphStyle = draw.GlyphStyle{Color: c.shade, Radius: 4, Shape: draw.CrossGlyph{}}
	p.Add(goals)
	return nil
}
