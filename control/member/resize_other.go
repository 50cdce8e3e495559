//go:build !unix

package member

import (
	"os"
	"syscall"
	"time"
)

// resized tells when the terminal may have a new size: there is no signal for it here.
func resized() (<-chan time.Time, func()) {
	t := time.NewTicker(time.Second)
	return t.C, t.Stop
}

// passed are the signals that are handed on to a process without a terminal.
var passed = []os.Signal{os.Interrupt, syscall.SIGTERM}

func number(s os.Signal) int {
	if s == os.Interrupt {
		return 2
	}
	return 15
}
