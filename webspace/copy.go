package webspace

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/pkg/sftp"
)

// SFTP opens an SFTP session (protocol version 3) on the files of a webspace, running or not. The webspace is kept from
// being put to sleep until the session is closed; the end of ctx closes it too.
func (s *Service) SFTP(ctx context.Context, uid int) (io.ReadWriteCloser, error) {
	release := s.o.Hold(uid)
	i, err := s.thawed(ctx, uid)
	var conn io.ReadWriteCloser
	if err == nil {
		conn, err = s.store.sftp(ctx, i.Name)
	}
	if err != nil {
		release()
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	return &held{ReadWriteCloser: conn, end: func() { stop(); release() }}, nil
}

// thawed is Get, and lets one that naps go on.
func (s *Service) thawed(ctx context.Context, uid int) (Instance, error) {
	i, err := s.Get(ctx, uid)
	if err == nil {
		err = s.thaw(ctx, i)
	}
	return i, err
}

// held lets go of its webspace when it is closed.
type held struct {
	io.ReadWriteCloser
	once sync.Once
	end  func()
}

func (h *held) Close() (err error) {
	h.once.Do(func() {
		err = h.ReadWriteCloser.Close()
		h.end()
	})
	return err
}

// with opens the files of a webspace for one piece of work.
func (s *Service) with(ctx context.Context, uid int, name string, do func(f *fileConn, name string) error) error {
	clean, err := cleanPath(name)
	if err != nil {
		return err
	}
	defer s.o.Hold(uid)()
	i, err := s.thawed(ctx, uid)
	if err != nil {
		return err
	}
	f, err := s.store.files(ctx, i.Name)
	if err != nil {
		return err
	}
	defer f.close()
	return do(f, clean)
}

func cleanPath(name string) (string, error) {
	if !path.IsAbs(name) || len(name) > 4096 || strings.ContainsRune(name, 0) {
		return "", &Problem{What: fmt.Sprintf("%.80q is not the path of a file", name), Cause: "it must begin with /", Next: "write the whole path", Kind: ErrInvalid}
	}
	return path.Clean(name), nil
}

// Stat describes a file without following a symbolic link.
func (s *Service) Stat(ctx context.Context, uid int, name string) (info FileInfo, err error) {
	err = s.with(ctx, uid, name, func(f *fileConn, name string) error {
		i, err := f.c.Lstat(name)
		if err != nil {
			return f.failed("look at "+name, err)
		}
		if info = fileInfo(i); info.Mode&fs.ModeSymlink != 0 {
			info.Target, _ = f.c.ReadLink(name)
		}
		return nil
	})
	return info, err
}

// ReadDir lists a directory by name.
func (s *Service) ReadDir(ctx context.Context, uid int, name string) (list []FileInfo, err error) {
	err = s.with(ctx, uid, name, func(f *fileConn, name string) error {
		all, err := f.list(name, maxListing)
		if err != nil {
			return err
		}
		for _, i := range all {
			list = append(list, fileInfo(i))
		}
		slices.SortFunc(list, func(a, b FileInfo) int { return cmp.Compare(a.Name, b.Name) })
		return nil
	})
	return list, err
}

// ReadFile opens a file, following symbolic links. The caller closes it; the end of ctx closes it too.
func (s *Service) ReadFile(ctx context.Context, uid int, name string) (io.ReadCloser, FileInfo, error) {
	clean, err := cleanPath(name)
	if err != nil {
		return nil, FileInfo{}, err
	}
	release := s.o.Hold(uid)
	i, err := s.thawed(ctx, uid)
	var f *fileConn
	if err == nil {
		f, err = s.store.files(ctx, i.Name)
	}
	if err != nil {
		release()
		return nil, FileInfo{}, err
	}
	o := &opened{file: f, end: func() { f.close(); release() }}
	info, err := f.c.Stat(clean) // before it is opened: a pipe would hold that up
	if err == nil && !info.Mode().IsRegular() {
		err = &Problem{What: "could not read " + clean + " in webspace " + i.Name, Cause: "it is not a regular file", Kind: ErrInvalid}
	}
	if err == nil {
		o.r, err = f.c.Open(clean)
	}
	if err != nil {
		o.end()
		return nil, FileInfo{}, f.failed("read "+clean, err)
	}
	return o, fileInfo(info), nil
}

// opened is a file being read.
type opened struct {
	r    *sftp.File
	file *fileConn
	once sync.Once
	end  func()
}

func (o *opened) Read(b []byte) (int, error) {
	n, err := o.r.Read(b)
	return n, o.failed(err)
}

// WriteTo has many requests on their way at once, for io.Copy.
func (o *opened) WriteTo(w io.Writer) (int64, error) {
	n, err := o.r.WriteTo(w)
	return n, o.failed(err)
}

func (o *opened) failed(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return o.file.failed("read a file", err)
}

func (o *opened) Close() error {
	o.once.Do(o.end)
	return nil
}

// WriteFile writes a file as a whole: what was there stays until all of content has arrived, and an error leaves it.
// info gives Mode (permissions; 0: 0644, or those and the owner of the file that is replaced), UID and GID.
func (s *Service) WriteFile(ctx context.Context, uid int, name string, info FileInfo, content io.Reader) error {
	return s.with(ctx, uid, name, func(f *fileConn, name string) error {
		name, err := f.follow(name)
		if err != nil {
			return f.failed("write "+name, err)
		}
		old, err := f.c.Lstat(name)
		switch {
		case err == nil && !old.Mode().IsRegular():
			return &Problem{What: "could not write " + name, Cause: "there is something that is not a regular file", Next: "choose another name", Kind: ErrInvalid}
		case err == nil && info.Mode.Perm() == 0:
			info = fileInfo(old)
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return f.failed("write "+name, err)
		}
		if info.Mode.Perm() == 0 {
			info.Mode = 0o644
		}
		return f.write(name, info, content)
	})
}

// MakeDir makes a directory, and those above it; existing ones are no error.
func (s *Service) MakeDir(ctx context.Context, uid int, name string, info FileInfo) error {
	return s.with(ctx, uid, name, func(f *fileConn, name string) error {
		if i, err := f.c.Stat(name); err == nil && i.IsDir() {
			return nil
		}
		if err := f.c.MkdirAll(name); err != nil {
			return f.failed("make "+name, err)
		}
		if info.Mode.Perm() == 0 {
			info.Mode = 0o755
		}
		if err := f.c.Chmod(name, info.Mode.Perm()); err != nil {
			return f.failed("make "+name, err)
		}
		if err := f.c.Chown(name, info.UID, info.GID); err != nil {
			return f.failed("make "+name, err)
		}
		return nil
	})
}

// Remove removes a file, or an empty directory.
func (s *Service) Remove(ctx context.Context, uid int, name string) error {
	return s.with(ctx, uid, name, func(f *fileConn, name string) error {
		if err := f.c.Remove(name); err != nil {
			return f.failed("remove "+name, err)
		}
		return nil
	})
}
