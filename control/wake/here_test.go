package wake

import (
	"net"
	"testing"
)

// held is what the engine counts as held for all webspaces.
func (e *Engine) held() totals {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.total
}

// listenHere opens a TCP port of this machine on all addresses, and accepts nobody.
func listenHere(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp4", "0.0.0.0:0")
	mustDo(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return uint16(l.Addr().(*net.TCPAddr).Port)
}
