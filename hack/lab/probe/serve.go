package main

import (
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
)

// serve answers on TCP and UDP with "peer ADDR local ADDR" and then echoes, and by HTTP:
//
//	GET /             the client's address
//	GET /bytes?n=N    N bytes of a known pattern
//	POST /            the SHA-256 of the body
//
// It serves for as long as it runs.
func serve(ctx context.Context, args []string) (any, error) {
	f := flag.NewFlagSet("serve", flag.ContinueOnError)
	port := f.Int("port", 7000, "TCP and UDP echo")
	web := f.Int("http", 80, "HTTP")
	if err := parse(f, args, 0); err != nil {
		return nil, err
	}
	tcp, err := net.Listen("tcp", ":"+strconv.Itoa(*port))
	if err != nil {
		return nil, err
	}
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{Port: *port})
	if err != nil {
		return nil, err
	}
	failed := make(chan error, 3)
	go func() { failed <- http.ListenAndServe(":"+strconv.Itoa(*web), http.HandlerFunc(answer)) }()
	go func() {
		for {
			c, err := tcp.Accept()
			if err != nil {
				failed <- err
				return
			}
			go func() {
				defer c.Close()
				if _, err := io.WriteString(c, banner(c.RemoteAddr(), c.LocalAddr())); err == nil {
					_, _ = io.Copy(c, c)
				}
			}()
		}
	}()
	go func() {
		buf := make([]byte, 65536)
		for {
			n, from, err := udp.ReadFromUDP(buf)
			if err != nil {
				failed <- err
				return
			}
			_, _ = udp.WriteToUDP(append([]byte(banner(from, udp.LocalAddr())), buf[:n]...), from)
		}
	}()
	ready()
	select {
	case err := <-failed:
		return nil, err
	case <-ctx.Done():
		return nil, nil
	}
}

func banner(peer, local net.Addr) string { return fmt.Sprintf("peer %s local %s\n", peer, local) }

func answer(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodPost:
		h := sha256.New()
		if _, err := io.Copy(h, r.Body); err != nil {
			return
		}
		fmt.Fprintf(w, "%x\n", h.Sum(nil))
	case r.URL.Path == "/bytes":
		n, err := strconv.ParseInt(r.URL.Query().Get("n"), 10, 64)
		if err != nil || n < 0 {
			http.Error(w, "n is not a number of bytes", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
		_, _ = io.Copy(w, io.LimitReader(&pattern{}, n))
	default:
		fmt.Fprintf(w, "Hello %s\n", r.RemoteAddr)
	}
}

// pattern is an endless stream of bytes that a swapped or lost block would break.
type pattern struct{ at uint64 }

func (p *pattern) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(p.at ^ p.at>>8 ^ p.at>>16)
		p.at++
	}
	return len(b), nil
}
