package admin

import (
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Streams are where a command reads and writes. The zero values of the flags mean a pipe: no colour, no progress.
type Streams struct {
	Out, Err io.Writer
	Colour   bool // of Out
	ErrTTY   bool // progress may rewrite its line
}

// Standard is the process's own streams. NO_COLOR (no-color.org) and TERM=dumb turn colour off.
func Standard() Streams {
	colour := isTerminal(os.Stdout) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return Streams{Out: os.Stdout, Err: os.Stderr, Colour: colour, ErrTTY: isTerminal(os.Stderr)}
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// style is an SGR sequence's parameter; "" is plain.
type style string

const (
	plain  style = ""
	bold   style = "1"
	dim    style = "2"
	red    style = "31"
	green  style = "32"
	yellow style = "33"
)

// paint makes text safe and gives it a style.
func (s Streams) paint(st style, text string) string {
	text = printable(text)
	if !s.Colour || st == plain || text == "" {
		return text
	}
	return "\x1b[" + string(st) + "m" + text + "\x1b[0m"
}

// printable replaces what could steer a terminal: control characters, and the marks that reorder text.
func printable(text string) string {
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
