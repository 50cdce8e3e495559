package apitest

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"

	"github.com/lanyard-project/lanyard/webspace"
)

func itoa(n int) string { return strconv.Itoa(n) }

// in gives the files of a webspace, and the path in them.
func (w *Webspaces) in(method string, uid int, name string) (*os.Root, string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s, err := w.at(method, uid)
	if err != nil {
		return nil, "", err
	}
	name = path.Clean(name)[1:]
	if name == "" {
		name = "."
	}
	return s.files, name, nil
}

func fileError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return problem(webspace.ErrNotFound, "could not reach the file", "there is none of that name")
	}
	return &webspace.Problem{What: "could not reach the file", Cause: "it is of another kind", Kind: webspace.ErrInvalid, Err: err}
}

func infoOf(i fs.FileInfo, r *os.Root, name string) webspace.FileInfo {
	out := webspace.FileInfo{Name: i.Name(), Size: i.Size(), Mode: i.Mode(), ModTime: i.ModTime()}
	if i.Mode()&fs.ModeSymlink != 0 {
		out.Target, _ = r.Readlink(name)
	}
	return out
}

// SFTP is api.Webspaces'. There is none.
func (w *Webspaces) SFTP(_ context.Context, uid int) (io.ReadWriteCloser, error) {
	_, _, err := w.in("SFTP", uid, "/")
	return nil, errors.Join(err, errors.New("no SFTP here"))
}

// Stat is api.Webspaces'.
func (w *Webspaces) Stat(_ context.Context, uid int, name string) (webspace.FileInfo, error) {
	r, name, err := w.in("Stat", uid, name)
	if err != nil {
		return webspace.FileInfo{}, err
	}
	i, err := r.Lstat(name)
	if err != nil {
		return webspace.FileInfo{}, fileError(err)
	}
	return infoOf(i, r, name), nil
}

// ReadDir is api.Webspaces'.
func (w *Webspaces) ReadDir(_ context.Context, uid int, name string) ([]webspace.FileInfo, error) {
	r, name, err := w.in("ReadDir", uid, name)
	if err != nil {
		return nil, err
	}
	entries, err := fs.ReadDir(r.FS(), name)
	if err != nil {
		return nil, fileError(err)
	}
	var list []webspace.FileInfo
	for _, e := range entries {
		if i, err := e.Info(); err == nil {
			list = append(list, infoOf(i, r, path.Join(name, e.Name())))
		}
	}
	return list, nil
}

// ReadFile is api.Webspaces'.
func (w *Webspaces) ReadFile(_ context.Context, uid int, name string) (io.ReadCloser, webspace.FileInfo, error) {
	r, name, err := w.in("ReadFile", uid, name)
	if err != nil {
		return nil, webspace.FileInfo{}, err
	}
	f, err := r.Open(name)
	if err != nil {
		return nil, webspace.FileInfo{}, fileError(err)
	}
	i, err := f.Stat()
	if err != nil || !i.Mode().IsRegular() {
		_ = f.Close()
		return nil, webspace.FileInfo{}, problem(webspace.ErrInvalid, "could not read the file", "it is none")
	}
	return f, infoOf(i, r, name), nil
}

// WriteFile is api.Webspaces'.
func (w *Webspaces) WriteFile(ctx context.Context, uid int, name string, info webspace.FileInfo, content io.Reader) error {
	r, name, err := w.in("WriteFile", uid, name)
	if err != nil {
		return err
	}
	mode := info.Mode.Perm()
	if mode == 0 {
		mode = 0o644
	}
	f, err := r.OpenFile(name+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, mode)
	if err != nil {
		return fileError(err)
	}
	_, err = io.Copy(f, during{ctx, content})
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, r.Remove(name+".new"))
	}
	return fileError(r.Rename(name+".new", name))
}

// during reads until its context ends.
type during struct {
	ctx context.Context
	io.Reader
}

func (d during) Read(b []byte) (int, error) {
	if err := d.ctx.Err(); err != nil {
		return 0, err
	}
	return d.Reader.Read(b)
}

// MakeDir is api.Webspaces'.
func (w *Webspaces) MakeDir(_ context.Context, uid int, name string, _ webspace.FileInfo) error {
	r, name, err := w.in("MakeDir", uid, name)
	if err != nil {
		return err
	}
	return fileError(r.MkdirAll(name, 0o755))
}

// Remove is api.Webspaces'.
func (w *Webspaces) Remove(_ context.Context, uid int, name string) error {
	r, name, err := w.in("Remove", uid, name)
	if err != nil {
		return err
	}
	return fileError(r.Remove(name))
}
