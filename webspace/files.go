package webspace

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"sync"
	"time"

	"github.com/pkg/sftp"

	"github.com/lxc/incus/shared/api"
)

// fileConn is an SFTP session on the files of an instance, running or not.
type fileConn struct {
	s    *Store
	name string
	c    *sftp.Client
	once sync.Once
	conn io.Closer
	stop func() bool
}

// sftp opens the raw session. The end of ctx after it has returned does not end it.
func (s *Store) sftp(ctx context.Context, name string) (io.ReadWriteCloser, error) {
	what := "open the files of webspace " + name
	at, err := s.path(name)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	c, err := s.client(ctx, userAgent)
	if err != nil {
		return nil, s.failed(what, err)
	}
	info, err := c.GetConnectionInfo()
	if err != nil {
		return nil, s.failed(what, err)
	}
	base := info.URL
	if s.socket != "" {
		base = "http://unix.socket"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+at+"/sftp?"+url.Values{"project": {s.o.Project}}.Encode(), nil)
	if err != nil {
		return nil, s.failed(what, err)
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "sftp")
	resp, err := c.DoHTTP(req)
	if err != nil {
		return nil, s.failed(what, err)
	}
	rw, ok := resp.Body.(io.ReadWriteCloser)
	if resp.StatusCode != http.StatusSwitchingProtocols || !ok {
		defer resp.Body.Close()
		return nil, s.failed(what, refusal(resp))
	}
	return rw, nil
}

// refusal reads LXD's words.
func refusal(resp *http.Response) error {
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	var r api.Response
	if json.Unmarshal(b, &r) == nil && r.Error != "" {
		return api.StatusErrorf(resp.StatusCode, "%s", r.Error)
	}
	return api.StatusErrorf(resp.StatusCode, "LXD answered %s", resp.Status)
}

// files opens a session that ends with ctx.
func (s *Store) files(ctx context.Context, name string) (*fileConn, error) {
	conn, err := s.sftp(ctx, name)
	if err != nil {
		return nil, err
	}
	conn = &metered{ReadWriteCloser: conn}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	c, err := sftp.NewClientPipe(conn, conn)
	if err != nil {
		stop()
		_ = conn.Close()
		return nil, s.failed("open the files of webspace "+name, errors.Join(err, ctx.Err()))
	}
	return &fileConn{s: s, name: name, c: c, conn: conn, stop: stop}, nil
}

func (f *fileConn) close() {
	f.once.Do(func() {
		f.stop()
		_ = f.conn.Close()
		_ = f.c.Close()
	})
}

// failed gives an error its kind.
func (f *fileConn) failed(what string, err error) error {
	var p *Problem
	if errors.As(err, &p) {
		return err
	}
	p = &Problem{What: "could not " + what + " in webspace " + f.name, Err: err}
	var status *sftp.StatusError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		p.Kind, p.Cause, p.Next = ErrNotFound, "there is no such file", "see what there is: lanyard ws exec -- ls -l"
	case errors.Is(err, fs.ErrPermission), errors.Is(err, fs.ErrExist), errors.As(err, &status):
		p.Kind = ErrInvalid
	case errors.Is(err, sftp.ErrSSHFxConnectionLost), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.ErrClosedPipe), errors.Is(err, os.ErrClosed):
		p.Kind, p.Cause, p.Next = ErrUnavailable, "the connection to its files was lost", "try again"
	}
	return p
}

// find returns where one of some programs is, or "".
func (f *fileConn) find(names ...string) (string, error) {
	for _, name := range names {
		for _, folder := range programFolders {
			at := path.Join(folder, name)
			_, err := f.c.Lstat(at)
			switch {
			case err == nil:
				return at, nil
			case !errors.Is(err, fs.ErrNotExist):
				return "", f.failed("look for "+at, err)
			}
		}
	}
	return "", nil
}

// read reads a whole file, at most limit bytes of it.
func (f *fileConn) read(name string, limit int64) ([]byte, FileInfo, error) {
	r, err := f.c.Open(name)
	if err != nil {
		return nil, FileInfo{}, f.failed("read "+name, err)
	}
	defer r.Close()
	info, err := r.Stat()
	if err != nil {
		return nil, FileInfo{}, f.failed("read "+name, err)
	}
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, FileInfo{}, f.failed("read "+name, err)
	}
	if int64(len(b)) > limit {
		return nil, FileInfo{}, &Problem{What: "could not read " + name + " in webspace " + f.name, Cause: "it is too large", Kind: ErrInvalid}
	}
	return b, fileInfo(info), nil
}

// write replaces a file as a whole: under another name beside it first, then in its place.
func (f *fileConn) write(name string, info FileInfo, content io.Reader) (err error) {
	temp := path.Join(path.Dir(name), ".lanyard-"+random())
	w, err := f.c.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return f.failed("write "+name, err)
	}
	defer func() {
		if err != nil {
			_ = f.c.Remove(temp)
			err = f.failed("write "+name, err)
		}
	}()
	_, err = w.ReadFrom(content)
	if close := w.Close(); err == nil {
		err = close
	}
	if err == nil {
		err = f.c.Chmod(temp, info.Mode.Perm())
	}
	if err == nil {
		err = f.c.Chown(temp, info.UID, info.GID)
	}
	if err == nil {
		err = f.c.PosixRename(temp, name)
	}
	return err
}

func random() string {
	b := make([]byte, 8)
	rand.Read(b) // never fails: crypto/rand, Go 1.24
	return hex.EncodeToString(b)
}

// follow resolves symbolic links at the end of a path, so that what they point to is replaced and not they.
func (f *fileConn) follow(name string) (string, error) {
	for range 40 { // as the kernel does
		info, err := f.c.Lstat(name)
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return name, nil
			}
			return "", err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			return name, nil
		}
		target, err := f.c.ReadLink(name)
		if err != nil {
			return "", err
		}
		if !path.IsAbs(target) {
			target = path.Join(path.Dir(name), target)
		}
		name = target
	}
	return "", errors.New("too many symbolic links")
}

func fileInfo(i fs.FileInfo) FileInfo {
	out := FileInfo{Name: i.Name(), Size: i.Size(), Mode: i.Mode(), ModTime: i.ModTime()}
	if st, ok := i.Sys().(*sftp.FileStat); ok {
		out.UID, out.GID = int(st.UID), int(st.GID)
	}
	return out
}

// FileInfo describes a file of a webspace. Owner and group are as the webspace sees them.
type FileInfo struct {
	Name     string // of the last element
	Size     int64
	Mode     fs.FileMode
	UID, GID int
	ModTime  time.Time
	Target   string // of a symbolic link
}
