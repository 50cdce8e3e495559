// Bench measures Lanyard's dataplane against the kernel's own means, against a userspace proxy and against a bare
// veth, on the paths of the design's table. It needs root, makes everything in namespaces of its own, and sends
// nothing outside of them. See docs/benchmarks/README.md.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/lanyard-project/lanyard/hack/bench/internal/cell"
	"github.com/lanyard-project/lanyard/hack/bench/internal/names"
)

func main() {
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
	// Cells die with the thread that started them, so this one must stay.
	runtime.LockOSThread()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
