// Command probe is what the lab's machines and tiny webspaces run: a minimal init, servers that say who is talking to
// them, and clients that measure loss. One static binary, so that a webspace needs nothing else but busybox.
// Clients print one JSON object on standard output; "ready" on standard error tells that they have begun.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

var commands = map[string]func(ctx context.Context, args []string) (any, error){
	"serve":    serve,
	"ping":     ping,
	"dial":     dial,
	"stream":   stream,
	"transfer": transfer,
	"send":     send,
	"sniff":    sniff,
	"flows":    flows,
	"names":    names,
}

func main() {
	if os.Getpid() == 1 { // as /sbin/init of a webspace
		os.Exit(initd())
	}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "probe: serve | ping | dial | stream | transfer | send | sniff | flows | names")
		os.Exit(2)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	result, err := commands[os.Args[1]](ctx, os.Args[2:])
	if result != nil {
		_ = json.NewEncoder(os.Stdout).Encode(result)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "probe %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}

// parse reads flags and exactly n further arguments.
func parse(f *flag.FlagSet, args []string, n int) error {
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() != n {
		return fmt.Errorf("%d arguments after the flags, want %d", f.NArg(), n)
	}
	return nil
}

func ready() { fmt.Fprintln(os.Stderr, "ready") }
