package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lanyard-project/lanyard/control/node/nodeapi"
)

// caller is the key of the calling process's user id in a request's context.
type caller struct{}

// serveAdmin serves the admin socket until ctx ends.
func (n *Node) serveAdmin(ctx context.Context) error {
	l, err := listenAdmin(n.config.Admin.Socket)
	if err != nil {
		return err
	}
	return serveHTTP(ctx, l, &http.Server{
		Handler:           n.adminHandler(),
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, caller{}, peerUID(c))
		},
	})
}

// listenAdmin makes the socket. One that is left over is replaced: the dataplane's lock has made sure that no other
// daemon lives.
func listenAdmin(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make the folder of the admin socket: %w", err)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSocket == 0 {
		return nil, fmt.Errorf("%s is in the way: it is no socket", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove the old admin socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("make the admin socket: %w", err)
	}
	// Until this is done only the check of credentials keeps others out.
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("keep the admin socket to root: %w", err)
	}
	return l, nil
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

// adminHandler is the API of the admin socket.
func (n *Node) adminHandler() http.Handler {
	mux := http.NewServeMux()
	streams := make(chan struct{}, maxStreams)
	mux.HandleFunc("GET "+nodeapi.PathStatus, func(w http.ResponseWriter, _ *http.Request) { answer(w, n.Status()) })
	mux.HandleFunc("GET "+nodeapi.PathDrops, func(w http.ResponseWriter, r *http.Request) { n.streamDrops(w, r, streams) })
	mux.HandleFunc("POST "+nodeapi.PathResync, n.resync)
	mux.HandleFunc("GET "+nodeapi.PathWakes, n.wakes)
	mux.HandleFunc("GET "+nodeapi.PathAwake, n.awake)
	mux.HandleFunc("GET "+nodeapi.PathWoken, n.woken)
	mux.HandleFunc("/", refuseUnknown)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if uid, ok := r.Context().Value(caller{}).(int); !ok || uid != 0 && uid != os.Geteuid() {
			refuse(w, http.StatusForbidden, nodeapi.Error{Code: nodeapi.CodeDenied, What: "the admin socket refuses you",
				Cause: "it is for root only", Next: "run the same command as root"})
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func refuseUnknown(w http.ResponseWriter, r *http.Request) {
	refuse(w, http.StatusNotFound, nodeapi.Error{Code: nodeapi.CodeNotFound, What: "there is no " + r.Method + " here",
		Cause: "client and daemon may be of different versions", Next: "compare them: lanyard version"})
}

func (n *Node) resync(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(r.Context(), nodeapi.CallTimeout-time.Second)
	defer cancel()
	result, err := n.agent.Resync(ctx)
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, nodeapi.Error{Code: nodeapi.CodeStarting, What: "could not follow LXD now",
			Cause: err.Error(), Next: "what was last known stays in force; look: lanyard status"})
		return
	}
	out := nodeapi.SyncResult{Duration: result.Duration, Changes: map[string]nodeapi.Change{}, Problems: []nodeapi.Problem{}}
	if out.Duration == 0 {
		out.Duration = time.Since(began)
	}
	for table, d := range result.Changes {
		out.Changes[table] = nodeapi.Change(d)
	}
	for _, p := range result.Problems {
		out.Problems = append(out.Problems, problem(p))
	}
	answer(w, out)
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a reader that went away is its own business
}

func refuse(w http.ResponseWriter, status int, e nodeapi.Error) {
	e.Status = status
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(&e)
}

// serveHTTP serves until ctx ends; the end is given shutdownTimeout.
func serveHTTP(ctx context.Context, l net.Listener, s *http.Server) error {
	base, cancel := context.WithCancel(ctx)
	defer cancel() // ends streams
	s.BaseContext = func(net.Listener) context.Context { return base }
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	end, stop := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer stop()
	if err := s.Shutdown(end); err != nil {
		_ = s.Close()
	}
	<-done
	return nil
}
