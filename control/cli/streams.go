package cli

import (
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// Streams are where a command reads and writes. The zero values of the flags mean a pipe: no colour, no progress.
type Streams struct {
	In       *os.File
	Out, Err io.Writer
	Colour   bool // of Out
	InTTY    bool
	OutTTY   bool
	ErrTTY   bool // progress may rewrite its line
}

// Standard is the process's own streams. NO_COLOR (no-color.org) and TERM=dumb turn colour off.
func Standard() Streams {
	s := Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		InTTY: isTerminal(os.Stdin), OutTTY: isTerminal(os.Stdout), ErrTTY: isTerminal(os.Stderr)}
	s.Colour = s.OutTTY && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return s
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// Style is an SGR sequence's parameter; "" is plain.
type Style string

// Styles.
const (
	Plain  Style = ""
	Bold   Style = "1"
	Dim    Style = "2"
	Red    Style = "31"
	Green  Style = "32"
	Yellow Style = "33"
)

// Paint makes text safe and gives it a style.
func (s Streams) Paint(st Style, text string) string {
	text = Printable(text)
	if !s.Colour || st == Plain || text == "" {
		return text
	}
	return "\x1b[" + string(st) + "m" + text + "\x1b[0m"
}

// Printable replaces what could steer a terminal: control characters, and the marks that reorder text.
func Printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r < 0x20, r >= 0x7f && r < 0xa0, // C0, DEL, C1
			r >= 0x200b && r <= 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2060 && r <= 0x206f, r == 0xfeff, // invisible, bidi
			r == 0xfffd:
			return '?'
		}
		return r
	}, text)
}
