package images

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// listenSocket makes the admin socket. One that is left over is replaced: the cache's lock has made sure that no other
// daemon lives.
func listenSocket(path string) (net.Listener, error) {
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
	if err := os.Chmod(path, 0o600); err != nil { // until then the check of credentials keeps others out
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// caller is the key of the calling process's user id in a request's context.
type caller struct{}

// withCaller asks the kernel who is at the other end; -1: nobody knows.
func withCaller(ctx context.Context, c net.Conn) context.Context {
	uid := -1
	if u, ok := c.(*net.UnixConn); ok {
		if raw, err := u.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) {
				if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
					uid = int(cred.Uid)
				}
			})
		}
	}
	return context.WithValue(ctx, caller{}, uid)
}

func trusted(ctx context.Context) bool {
	uid, ok := ctx.Value(caller{}).(int)
	return ok && (uid == 0 || uid == os.Geteuid())
}
