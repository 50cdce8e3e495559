package admin

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// cell is text with a style. Right aligns numbers.
type cell struct {
	text  string
	style style
	right bool
}

func text(s string) cell             { return cell{text: s} }
func styled(st style, s string) cell { return cell{text: s, style: st} }
func number[T ~int | ~int64 | ~uint64 | ~uint32](n T) cell {
	return cell{text: thousands(int64(n)), right: true}
}

// table is a heading and rows, printed in columns. text/tabwriter would count colour as width.
type table struct {
	head []string
	rows [][]cell
}

func (t *table) row(cells ...cell) { t.rows = append(t.rows, cells) }

// print writes the table, each line indented; at most limit rows (0: all), and then how many more there are.
func (t *table) print(s Streams, limit int, more string) {
	shown := t.rows
	if limit > 0 && len(shown) > limit {
		shown = shown[:limit]
	}
	width := make([]int, len(t.head))
	right := make([]bool, len(t.head))
	for i, h := range t.head {
		width[i] = utf8.RuneCountInString(h)
	}
	for _, r := range shown {
		for i, c := range r {
			width[i] = max(width[i], utf8.RuneCountInString(printable(c.text)))
			right[i] = right[i] || c.right
		}
	}
	line := func(cells []cell) {
		var b strings.Builder
		for i, c := range cells {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(printable(c.text)))
			if right[i] {
				b.WriteString(pad + s.paint(c.style, c.text))
			} else {
				b.WriteString(s.paint(c.style, c.text))
				if i < len(cells)-1 {
					b.WriteString(pad)
				}
			}
			if i < len(cells)-1 {
				b.WriteString("  ")
			}
		}
		fmt.Fprintln(s.Out, "  "+strings.TrimRight(b.String(), " "))
	}
	head := make([]cell, len(t.head))
	for i, h := range t.head {
		head[i] = styled(dim, h)
	}
	line(head)
	for _, r := range shown {
		line(r)
	}
	if n := len(t.rows) - len(shown); n > 0 {
		fmt.Fprintln(s.Out, "  "+s.paint(dim, fmt.Sprintf("and %s more: %s", thousands(int64(n)), more)))
	}
}
