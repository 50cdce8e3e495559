package ledger

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// writerEnv makes this test binary a process that writes records for ever.
const writerEnv = "LANYARD_TEST_LEDGER"

func TestMain(m *testing.M) {
	if file := os.Getenv(writerEnv); file != "" {
		if err := writeForEver(file); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// writeForEver says the number of each record that is on the disk.
func writeForEver(file string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute) // in case nobody kills it
	defer cancel()
	l := New(Options{File: file, PerWebspace: 10, Total: 25}, nil)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return l.Run(ctx) })
	for n := 1; ctx.Err() == nil; n++ {
		l.Add(record(n%5, n))
		if err := l.Flush(ctx); err != nil {
			return err
		}
		fmt.Println(n)
	}
	return g.Wait()
}

// A daemon that is killed in the middle of a write leaves a whole file, with all that Flush had promised.
func TestKilled(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ledger.db")
	last := 0
	for round := range 3 {
		c := exec.CommandContext(t.Context(), os.Args[0])
		c.Env = append(os.Environ(), writerEnv+"="+file)
		c.Stderr = os.Stderr
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		said := 0
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if _, err := fmt.Sscan(lines.Text(), &said); err != nil {
				t.Error(err)
			}
			if said == 20+round {
				_ = c.Process.Kill()
			}
		}
		if err := c.Wait(); err == nil {
			t.Fatal("it ended by itself")
		}
		last = said
	}
	l, _ := running(t, Options{File: file})
	p, err := l.All(0, 0)
	if err != nil || len(p.Records) == 0 || len(p.Records) > 25 {
		t.Fatal(len(p.Records), err)
	}
	// The newest may be one that was written, but not said any more.
	if n := int(p.Records[0].Took); n != last && n != last+1 {
		t.Errorf("the newest is %d, it said %d", n, last)
	}
	if _, err := os.Stat(file + ".broken"); err == nil {
		t.Error("it was taken for broken")
	}
}

func TestBrokenFileIsPutAside(t *testing.T) {
	good := filepath.Join(t.TempDir(), "ledger.db")
	l, stop := running(t, Options{File: good})
	for n := range 50 {
		l.Add(record(n, n))
	}
	flush(t, l)
	stop()
	whole, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize()
	for name, broken := range map[string][]byte{
		"text":      []byte("this is no ledger, but it is long enough to have been one, and somebody has put it here"),
		"cut":       whole[:2*page+1],
		"cut more":  whole[:len(whole)/2/page*page],
		"zero tail": append(append([]byte{}, whole[:3*page]...), make([]byte, len(whole)-3*page)...),
		"no head":   append(make([]byte, 2*page), whole[2*page:]...),
	} {
		file := filepath.Join(t.TempDir(), "ledger.db")
		if err := os.WriteFile(file, broken, 0o600); err != nil {
			t.Fatal(err)
		}
		l, _ := running(t, Options{File: file})
		l.Add(record(1, 1))
		flush(t, l)
		if p, err := l.All(0, 0); err != nil || len(p.Records) != 1 {
			t.Error(name, len(p.Records), err)
		}
		if _, err := os.Stat(file + ".broken"); err != nil {
			t.Error(name, err)
		}
	}
}

// Another daemon on the same file would not see what this one writes.
func TestOneAtATime(t *testing.T) {
	l, _ := running(t, Options{})
	other := New(l.o, nil)
	other.lockWait = time.Millisecond
	if err := other.Run(t.Context()); err == nil {
		t.Error("two have the same file")
	}
	if _, err := os.Stat(l.o.File + ".broken"); err == nil {
		t.Error("it was taken for broken")
	}
}
