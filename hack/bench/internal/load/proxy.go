package load

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
)

// Proxy is a forward as a userspace program does it.
type Proxy struct {
	Listen netip.AddrPort `json:"listen"`
	Target netip.AddrPort `json:"target"`
}

// startProxy runs a plain Go proxy, written the way such proxies are: one goroutine for each direction, io.Copy
// between TCP connections (which splices in the kernel). It runs until the cell ends.
func startProxy(a Proxy) (None, error) {
	l, err := net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(a.Listen))
	if err != nil {
		return None{}, fmt.Errorf("proxy: %w", err)
	}
	go func() {
		for {
			in, err := l.AcceptTCP()
			if err != nil {
				return
			}
			go proxyOne(in, a.Target)
		}
	}()
	return None{}, nil
}

func proxyOne(in *net.TCPConn, target netip.AddrPort) {
	defer in.Close()
	out, err := net.DialTCP("tcp4", nil, net.TCPAddrFromAddrPort(target))
	if err != nil {
		return
	}
	defer out.Close()
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(in, out)
		_ = in.CloseWrite()
	})
	_, _ = io.Copy(out, in)
	_ = out.CloseWrite()
	back.Wait()
}
