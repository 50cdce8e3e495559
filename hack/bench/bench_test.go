package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/hack/bench/internal/cell"
	"github.com/lanyard-project/lanyard/hack/bench/internal/measure"
	"github.com/lanyard-project/lanyard/hack/bench/internal/names"
)

// The benchmark starts its cells from its own binary, which here is the test's.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == cell.Arg {
		if err := cell.Serve(os.Args[3], operations()); err != nil {
			fmt.Fprintln(os.Stderr, "bench cell:", err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) == 4 && os.Args[1] == names.Arg {
		if err := names.Serve(context.Background(), os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, "bench name server:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// Every case runs one short round: packets arrive, servers see the addresses that they should, the report can be written.
// No time is judged. It needs root.
func TestEveryCase(t *testing.T) {
	runtime.LockOSThread() // cells end with the thread that started them
	defer runtime.UnlockOSThread()
	o := options{only: regexp.MustCompile("")}
	r, err := everything(t.Context(), o, measure.Plan{Rounds: 1, Round: 5 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range r.Results {
		for _, v := range x.Order {
			if x.Stats[v].Median <= 0 {
				t.Errorf("%s: %s took no time", x.Name, v)
			}
		}
		if len(x.Ratios) == 0 {
			t.Errorf("%s compares nothing", x.Name)
		}
	}
	if len(r.Figures) == 0 || len(r.Maps) == 0 {
		t.Errorf("%d figures and %d maps in the report", len(r.Figures), len(r.Maps))
	}
	dir := t.TempDir()
	if err := r.Write(dir + "/2026-01-02"); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"README.md", "2026-01-02/README.md", "2026-01-02/results.json", "2026-01-02/ratios.png"} {
		if s, err := os.Stat(dir + "/" + f); err != nil || s.Size() == 0 {
			t.Errorf("%s was not written: %v", f, err)
		}
	}
}
