package cli

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{"plain äß": "plain äß", "a\x1b[2Jb": "a?[2Jb", "a\r\nb": "a??b", "\u202egnp.exe": "?gnp.exe", "\u009b31m": "?31m", "a\xffb": "a?b"} {
		if got := Printable(in); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}

func TestTable(t *testing.T) {
	var out bytes.Buffer
	table := Table{Head: []string{"NAME", "SIZE"}}
	table.Row(Text("äb"), Number("7"))
	table.Row(Cell{Text: "long\x1bname", Style: Red}, Number("12345"))
	table.Print(Streams{Out: &out})
	if want := "NAME        SIZE\näb             7\nlong?name  12345\n"; out.String() != want {
		t.Errorf("%q", out.String())
	}
	out.Reset()
	table.Print(Streams{Out: &out, Colour: true})
	if !strings.Contains(out.String(), "\x1b[31mlong?name\x1b[0m  12345") {
		t.Errorf("%q", out.String())
	}
}

func TestProgress(t *testing.T) {
	var out bytes.Buffer
	p := Progress{Streams: Streams{Err: &out}}
	for n := range 5 {
		p.Percent("loading", n*25)
		p.Bar("file", int64(n), 4)
	}
	p.Show("done")
	p.End()
	if out.String() != "loading\ndone\n" {
		t.Errorf("%q", out.String())
	}
	out.Reset()
	p = Progress{Streams: Streams{Err: &out, ErrTTY: true}}
	p.Percent("loading", 50)
	p.Bar("file", 4, 4)
	p.End()
	if want := "\r\x1b[Kloading  [############------------]  50%\r\x1b[Kfile  [########################] 100%  4 B\r\x1b[K"; out.String() != want {
		t.Errorf("%q", out.String())
	}
}

func TestReport(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
		text string
	}{
		{nil, 0, ""}, {Exit(7), 7, ""}, {fmt.Errorf("wrapped: %w", Exit(9)), 9, ""},
		{&Error{Code: "c", What: "w", Cause: "x", Next: "n"}, 1, "lanyard: w [c]\n  cause: x\n  next:  n\n"},
		{&Error{Code: "c", What: "w\x1b", Exit: 4}, 4, "lanyard: w? [c]\n"},
		{errors.New("unknown flag"), 2, "lanyard: unknown flag [usage]\n  next:  lanyard help\n"},
		{Usage("what", "next"), 2, "lanyard: what [usage]\n  next:  next\n"},
	} {
		var out bytes.Buffer
		if code := Report(Streams{Err: &out}, c.err, false); code != c.code || out.String() != c.text {
			t.Errorf("%v: %d %q", c.err, code, out.String())
		}
	}
	var out bytes.Buffer
	Report(Streams{Err: &out}, &Error{Code: "c", What: "w", Cause: "<x>"}, true)
	if out.String() != `{"code":"c","title":"w","detail":"\u003cx\u003e"}`+"\n" {
		t.Error(out.String())
	}
}

func TestText(t *testing.T) {
	for d, want := range map[time.Duration]string{-1: "0 s", 350 * time.Microsecond: "350 µs", 12 * time.Millisecond: "12 ms", 4200 * time.Millisecond: "4.2 s",
		42 * time.Second: "42 s", 310 * time.Second: "5m10s", 133 * time.Minute: "2h13m", 220 * time.Hour: "9d4h"} {
		if got := Span(d); got != want {
			t.Errorf("%v: %s", d, got)
		}
	}
	for n, want := range map[int64]string{7: "7 B", 2048: "2.0 KiB", 3 << 20: "3.0 MiB", 5 << 30: "5.0 GiB"} {
		if got := Size(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}
