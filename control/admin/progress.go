package admin

import (
	"fmt"
	"strings"
)

// progress is one line on stderr that says what is being waited for. On a terminal it rewrites itself and is gone at
// the end; elsewhere each new text is a line.
type progress struct {
	streams Streams
	last    string
}

func (p *progress) show(text string) {
	text = printable(text)
	if text == p.last {
		return
	}
	if p.streams.ErrTTY {
		fmt.Fprint(p.streams.Err, "\r\x1b[K"+text)
	} else {
		fmt.Fprintln(p.streams.Err, text)
	}
	p.last = text
}

func (p *progress) end() {
	if p.streams.ErrTTY && strings.TrimSpace(p.last) != "" {
		fmt.Fprint(p.streams.Err, "\r\x1b[K")
	}
	p.last = ""
}
