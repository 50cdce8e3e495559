//go:build unix

package member

import (
	"os"
	"os/signal"
	"syscall"
)

// resized tells when the terminal may have a new size.
func resized() (<-chan os.Signal, func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGWINCH)
	return c, func() { signal.Stop(c) }
}

// passed are the signals that are handed on to a process without a terminal.
var passed = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2}

func number(s os.Signal) int {
	switch s { // Linux's numbers: the webspace's kernel is Linux, this one may not be
	case syscall.SIGUSR1:
		return 10
	case syscall.SIGUSR2:
		return 12
	}
	n, _ := s.(syscall.Signal)
	return int(n)
}
