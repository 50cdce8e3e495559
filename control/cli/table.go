package cli

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Cell is text with a style. Right aligns numbers.
type Cell struct {
	Text  string
	Style Style
	Right bool
}

// Text is a plain cell.
func Text(s string) Cell { return Cell{Text: s} }

// Styled is a cell with a style.
func Styled(st Style, s string) Cell { return Cell{Text: s, Style: st} }

// Number is a cell that is aligned to the right.
func Number(s string) Cell { return Cell{Text: s, Right: true} }

// Integer is a number with its digits in groups.
func Integer[T ~int | ~int64 | ~uint64 | ~uint32](n T) Cell { return Number(Thousands(int64(n))) }

// Table is a heading and rows, printed in columns. text/tabwriter would count colour as width.
type Table struct {
	Indent string // of each line
	Head   []string
	Rows   [][]Cell
}

// Row adds one.
func (t *Table) Row(cells ...Cell) { t.Rows = append(t.Rows, cells) }

// Print writes the table.
func (t *Table) Print(s Streams) { t.PrintSome(s, 0, "") }

// PrintSome writes at most limit rows (0: all), and then how many more there are, and where.
func (t *Table) PrintSome(s Streams, limit int, where string) {
	shown := t.Rows
	if limit > 0 && len(shown) > limit {
		shown = shown[:limit]
	}
	width := make([]int, len(t.Head))
	right := make([]bool, len(t.Head))
	for i, h := range t.Head {
		width[i] = utf8.RuneCountInString(h)
	}
	for _, r := range shown {
		for i, c := range r {
			width[i] = max(width[i], utf8.RuneCountInString(Printable(c.Text)))
			right[i] = right[i] || c.Right
		}
	}
	line := func(cells []Cell) {
		var b strings.Builder
		for i, c := range cells {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(Printable(c.Text)))
			switch {
			case right[i]:
				b.WriteString(pad + s.Paint(c.Style, c.Text))
			case i == len(cells)-1:
				b.WriteString(s.Paint(c.Style, c.Text))
			default:
				b.WriteString(s.Paint(c.Style, c.Text) + pad)
			}
			if i < len(cells)-1 {
				b.WriteString("  ")
			}
		}
		fmt.Fprintln(s.Out, t.Indent+strings.TrimRight(b.String(), " "))
	}
	head := make([]Cell, len(t.Head))
	for i, h := range t.Head {
		head[i] = Cell{Text: h, Style: Dim}
	}
	line(head)
	for _, r := range shown {
		line(r)
	}
	if n := len(t.Rows) - len(shown); n > 0 {
		fmt.Fprintln(s.Out, t.Indent+s.Paint(Dim, fmt.Sprintf("and %s more: %s", Thousands(int64(n)), where)))
	}
}
