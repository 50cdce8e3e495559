package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/lanyard-project/lanyard/control/keypair"
)

// Listeners say where Serve listens. Each may be left out.
type Listeners struct {
	Address           string // host:port
	CertFile, KeyFile string // PEM; both or none. They are read again when they change
	Socket            string // unix socket, for root only, whose callers are admins without a token
}

// Serve serves the API and samples until ctx ends, and then lets open requests end in an orderly way. ready is called
// with the address of the listener (nil without one) once it listens.
func (s *Server) Serve(ctx context.Context, at Listeners, ready func(net.Addr)) error {
	var listeners []net.Listener
	defer func() {
		for _, l := range listeners {
			_ = l.Close()
		}
	}()
	var address net.Addr
	if at.Address != "" {
		l, err := net.Listen("tcp", at.Address)
		if err != nil {
			return fmt.Errorf("listen for the API: %w", err)
		}
		address = l.Addr()
		if at.CertFile != "" {
			files := &keypair.Files{Cert: at.CertFile, Key: at.KeyFile}
			if _, err := files.Get(); err != nil {
				_ = l.Close()
				return fmt.Errorf("read the API's certificate: %w", err)
			}
			l = tls.NewListener(l, &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
				GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return certificate(files, s.log) }})
		}
		listeners = append(listeners, l)
	}
	if at.Socket != "" {
		l, err := listenSocket(at.Socket)
		if err != nil {
			return fmt.Errorf("listen on the API's socket: %w", err)
		}
		listeners = append(listeners, l)
	}
	server := &http.Server{
		Handler: s.handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if _, ok := c.(*net.UnixConn); ok {
				return context.WithValue(ctx, localKey{}, true)
			}
			return ctx
		},
	}
	if ready != nil {
		ready(address)
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, l := range listeners {
		g.Go(func() error {
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
	}
	g.Go(func() error { return s.sample(ctx) })
	g.Go(func() error {
		<-ctx.Done()
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.o.ShutdownTime)
		defer cancel()
		s.endStreams()
		half := time.AfterFunc(s.o.ShutdownTime/2, s.endBackground)
		defer half.Stop()
		if err := server.Shutdown(end); err != nil {
			_ = server.Close()
		}
		s.Close()
		return nil
	})
	return g.Wait()
}

// listenSocket makes a socket that only root can open. One that a killed process left is replaced.
func listenSocket(name string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return nil, err
	}
	if info, err := os.Lstat(name); err == nil {
		if info.Mode()&fs.ModeSocket == 0 {
			return nil, fmt.Errorf("%s is in the way", name)
		}
		if c, err := net.DialTimeout("unix", name, time.Second); err == nil {
			_ = c.Close()
			return nil, fmt.Errorf("another process serves %s", name)
		}
		if err := os.Remove(name); err != nil {
			return nil, err
		}
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(name, 0o600); err != nil {
		_ = l.Close()
		return nil, err
	}
	return rootOnly{l}, nil
}

// rootOnly asks the kernel who connects: between bind and chmod the socket's permissions may have been wider.
type rootOnly struct{ *net.UnixListener }

func (l rootOnly) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		raw, err := c.SyscallConn()
		var peer *unix.Ucred
		if err == nil {
			controlErr := raw.Control(func(fd uintptr) { peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
			err = errors.Join(err, controlErr)
		}
		if err == nil && (peer.Uid == 0 || int(peer.Uid) == os.Geteuid()) {
			return c, nil
		}
		_ = c.Close()
	}
}

// certificate gives what the files hold at each handshake; while they cannot be read, that is reported, and the old one
// stays.
func certificate(f *keypair.Files, log *slog.Logger) (*tls.Certificate, error) {
	pair, err := f.Get()
	if pair != nil && err != nil {
		log.Warn("the API's certificate cannot be read again; the old one is still used", "err", err)
		return pair, nil
	}
	return pair, err
}
