package main

import (
	"context"
	"errors"
	"flag"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/lanyard-project/lanyard/control/node/nodeapi"
)

var update = flag.Bool("update", false, "rewrite what the scripts compare with")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"lanyard": func() { os.Exit(start()) }})
}

// TestScripts runs testdata/*.txtar: the program as users meet it, against a daemon that answers from files.
// `node SOCKET DIR` serves DIR/status.json, DIR/drops.ndjson and DIR/resync.json; a file that is missing is an error
// of the API; DIR/starting makes the status answer "starting" that many times first. `exitcode N` runs the rest of
// its line and wants that code.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireUniqueNames:  true,
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"node":     serveNode,
			"exitcode": exitCode,
		},
		Setup: func(e *testscript.Env) error {
			e.Setenv("TZ", "UTC")
			return nil
		},
	})
}

func exitCode(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: exitcode N command...")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if err != nil {
		_, code, ok := strings.Cut(err.Error(), "exit status ")
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = code
	}
	if got != args[0] {
		ts.Fatalf("exit code %s, want %s", got, args[0])
	}
}

func serveNode(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: node SOCKET DIR")
	}
	dir := ts.MkAbs(args[1])
	listener, err := net.Listen("unix", ts.MkAbs(args[0]))
	ts.Check(err)
	server := &http.Server{Handler: fakeNode(dir), ReadHeaderTimeout: 5 * time.Second}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	ts.Defer(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			server.Close()
		}
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			ts.Logf("fake node: %v", err)
		}
	})
}

func fakeNode(dir string) http.Handler {
	mux := http.NewServeMux()
	serve := func(file, kind string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			name := file
			if r.URL.Query().Get("webspace") != "" {
				name = r.URL.Query().Get("webspace") + "-" + file
			}
			b, err := os.ReadFile(filepath.Join(dir, name))
			if starting, e := os.ReadFile(filepath.Join(dir, "starting")); e == nil && len(starting) > 0 {
				if err := os.WriteFile(filepath.Join(dir, "starting"), starting[1:], 0o600); err != nil {
					panic(err)
				}
				b, err = os.ReadFile(filepath.Join(dir, "starting.json"))
			}
			if err != nil {
				w.Header().Set("Content-Type", "application/problem+json")
				w.WriteHeader(http.StatusServiceUnavailable)
				_, _ = w.Write([]byte(`{"code":"node-starting","title":"the node cannot answer yet","detail":"it is starting","next":"lanyard status --wait"}`))
				return
			}
			w.Header().Set("Content-Type", kind)
			_, _ = w.Write(b)
		}
	}
	mux.HandleFunc("GET "+nodeapi.PathStatus, serve("status.json", "application/json"))
	mux.HandleFunc("GET "+nodeapi.PathDrops, serve("drops.ndjson", "application/x-ndjson"))
	mux.HandleFunc("GET "+nodeapi.PathWakes, serve("wakes.json", "application/json"))
	mux.HandleFunc("GET "+nodeapi.PathAwake, serve("awake.json", "application/json"))
	mux.HandleFunc("POST "+nodeapi.PathResync, serve("resync.json", "application/json"))
	return mux
}
