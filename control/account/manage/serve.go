package manage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lanyard-project/lanyard/control/account"
)

const maxBody = 256 << 10 // 32 keys of 4 KiB and a password, with room

// Serve lets root manage the accounts over a unix socket until ctx ends. What is changed is logged, without secrets. Without
// a manager or a socket it serves nobody.
func Serve(ctx context.Context, a Manager, socket string, log *slog.Logger) error {
	if a == nil || socket == "" {
		<-ctx.Done()
		return nil
	}
	l, err := listen(socket)
	if err != nil {
		return &account.Error{What: "cannot serve accounts to the administrator", Cause: err.Error(), Next: "correct accounts.socket",
			Kind: account.ErrUnavailable, Err: err}
	}
	server := &http.Server{
		Handler:           handler(a, log),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: time.Minute, IdleTimeout: time.Minute,
		MaxHeaderBytes: 16 << 10,
		ErrorLog:       slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if server.Shutdown(grace) != nil {
			_ = server.Close()
		}
	})
	err = server.Serve(l)
	if !stop() {
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// listen makes the socket. One that is left over is replaced: whoever has the file of accounts open is alone.
func listen(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSocket == 0 {
		return nil, fmt.Errorf("%s is in the way: it is no socket", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	// Until this is done only the check of credentials keeps others out.
	if err := os.Chmod(path, 0o600); err != nil {
		_ = l.Close()
		return nil, err
	}
	return &guarded{l, os.Geteuid()}, nil
}

// guarded accepts connections only of root and of the user that it runs as.
type guarded struct {
	net.Listener
	own int
}

func (g *guarded) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if uid := peerUID(c); uid == 0 || uid == g.own {
			return c, nil
		}
		_ = c.Close()
	}
}

// peerUID asks the kernel who is at the other end; -1: nobody knows.
func peerUID(c net.Conn) int {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return -1
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return -1
	}
	uid := -1
	_ = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			uid = int(cred.Uid)
		}
	})
	return uid
}

func handler(a Manager, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	changed := func(what, name string, err error) {
		if err == nil {
			log.Info("account changed", "what", what, "account", name, "by", "root", "over", "socket")
		}
	}
	mux.HandleFunc("GET "+pathAccounts, func(w http.ResponseWriter, r *http.Request) {
		list, err := a.List(r.Context())
		answer(w, list, err)
	})
	mux.HandleFunc("POST "+pathAccounts, func(w http.ResponseWriter, r *http.Request) {
		var n New
		if !decode(w, r, &n) {
			return
		}
		got, err := a.Add(r.Context(), n)
		changed("added", got.Username, err)
		answer(w, got, err)
	})
	mux.HandleFunc("PATCH "+pathAccounts+"/{name}", func(w http.ResponseWriter, r *http.Request) {
		var c Change
		if !decode(w, r, &c) {
			return
		}
		got, err := a.Set(r.Context(), r.PathValue("name"), c)
		changed(c.what(), got.Username, err)
		answer(w, got, err)
	})
	mux.HandleFunc("DELETE "+pathAccounts+"/{name}", func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("name")
		err := a.Remove(r.Context(), name)
		changed("removed", name, err)
		answer(w, struct{}{}, err)
	})
	return mux
}

func decode(w http.ResponseWriter, r *http.Request, into any) bool {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		answer(w, nil, &account.Error{What: "cannot read the request", Cause: "it is not the JSON that this path takes", Kind: account.ErrInvalid,
			Next: "compare the versions of lanyardd", Err: err})
		return false
	}
	return true
}

func answer(w http.ResponseWriter, v any, err error) {
	if err == nil {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v) // a client that is gone needs no answer
		return
	}
	code, status := codeOf(err)
	p := problem{Code: code, Title: err.Error()}
	if e, ok := errors.AsType[*account.Error](err); ok {
		p = problem{Code: code, Title: e.What, Detail: e.Cause, Next: e.Next}
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(p)
}
