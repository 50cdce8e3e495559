package cli

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// Progress is one line on stderr that says what is being waited for. On a terminal it rewrites itself and is gone at the
// end; elsewhere each new text is a line, and bars are not shown. It is safe for concurrent use.
type Progress struct {
	Streams Streams
	mu      sync.Mutex
	last    string
	drawn   time.Time
}

// Show shows a text.
func (p *Progress) Show(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.show(text)
}

func (p *Progress) show(text string) {
	text = Printable(text)
	if text == p.last {
		return
	}
	p.last = text
	if p.Streams.ErrTTY {
		fmt.Fprint(p.Streams.Err, "\r\x1b[K"+text)
	} else {
		fmt.Fprintln(p.Streams.Err, text)
	}
}

const barWidth = 24

// Bar shows how far something is, at most ten times a second; total 0: nobody knows how much it will be.
func (p *Progress) Bar(what string, done, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.Streams.ErrTTY || time.Since(p.drawn) < 100*time.Millisecond && done < total {
		return
	}
	p.drawn = time.Now()
	if total <= 0 {
		p.show(fmt.Sprintf("%s  %s", what, Size(done)))
		return
	}
	full := int(min(done, total) * barWidth / total)
	p.show(fmt.Sprintf("%s  [%s%s] %3d%%  %s", what, strings.Repeat("#", full), strings.Repeat("-", barWidth-full), min(done, total)*100/total, Size(total)))
}

// Percent shows a text, and how far it is; percent -1: nobody knows.
func (p *Progress) Percent(text string, percent int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.Streams.ErrTTY || percent < 0 || percent > 100 { // elsewhere once for each text
		p.show(text)
		return
	}
	full := percent * barWidth / 100
	p.show(fmt.Sprintf("%s  [%s%s] %3d%%", text, strings.Repeat("#", full), strings.Repeat("-", barWidth-full), percent))
}

// End removes the line.
func (p *Progress) End() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.Streams.ErrTTY && p.last != "" {
		fmt.Fprint(p.Streams.Err, "\r\x1b[K")
	}
	p.last = ""
}
