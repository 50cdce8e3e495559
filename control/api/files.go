package api

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/pkg/sftp"

	"github.com/lanyard-project/lanyard/control/account"
	"github.com/lanyard-project/lanyard/control/api/wire"
	"github.com/lanyard-project/lanyard/webspace"
)

// ReadFile gives a file, or lists a directory.
func (o operations) ReadFile(w http.ResponseWriter, r *http.Request, username string, params wire.ReadFileParams) {
	ctx, release, who, name, err := o.file(r, username, params.Path)
	if err != nil {
		o.problem(w, r, err)
		return
	}
	defer release()
	follow := params.Follow == nil || *params.Follow
	info, err := o.o.Webspaces.Stat(ctx, who.UID, name)
	if err != nil {
		o.problem(w, r, err)
		return
	}
	link := info.Mode&fs.ModeSymlink != 0
	if link && !follow {
		describeFile(w, info)
		_, _ = w.Write([]byte(info.Target))
		return
	}
	var list []webspace.FileInfo
	directory := info.Mode.IsDir()
	if directory || link { // a link may lead to a directory: then it can be listed
		list, err = o.o.Webspaces.ReadDir(ctx, who.UID, name)
		directory = directory || err == nil
	}
	if directory {
		if err != nil {
			o.problem(w, r, err)
			return
		}
		entries := make([]wire.FileEntry, len(list))
		for n, f := range list {
			entries[n] = entryOf(f)
		}
		info.Mode |= fs.ModeDir
		info.Mode &^= fs.ModeSymlink
		describeFile(w, info)
		reply(w, http.StatusOK, entries)
		return
	}
	if !link && !info.Mode.IsRegular() { // a FIFO or a device would block for ever
		o.problem(w, r, fail(codeInvalid, "", "it is neither a file nor a directory"))
		return
	}
	content, info, err := o.o.Webspaces.ReadFile(ctx, who.UID, name)
	if err != nil {
		o.problem(w, r, err)
		return
	}
	defer content.Close()
	describeFile(w, info)
	if r.Method == http.MethodHead {
		return
	}
	if _, err := io.Copy(&pacedWriter{w, http.NewResponseController(w)}, content); err != nil {
		// The client must not take what it has for the whole.
		panic(http.ErrAbortHandler)
	}
}

// file is what every operation on files begins with. Paths are of the webspace: LXD's SFTP server sees nothing else.
func (o operations) file(r *http.Request, username, name string) (ctx context.Context, release func(), who account.Identity, clean string, err error) {
	if who, err = o.target(r.Context(), username); err != nil {
		return nil, nil, who, "", err
	}
	if !strings.HasPrefix(name, "/") || len(name) > 4096 || strings.ContainsRune(name, 0) {
		return nil, nil, who, "", fail(codeInvalid, "", "path must be absolute, and of at most 4096 bytes")
	}
	free, ok := o.limits.stream(callOf(r.Context()).caller.UID)
	if !ok {
		return nil, nil, who, "", &failure{code: codeRate, cause: "too many files at once", after: 10 * time.Second}
	}
	ctx, _, end := o.stream(r.Context(), username) // large files take their time
	return ctx, func() { end(); free() }, who, path.Clean(name), nil
}

func typeOf(m fs.FileMode) wire.FileType {
	switch {
	case m.IsDir():
		return wire.TypeDirectory
	case m&fs.ModeSymlink != 0:
		return wire.TypeSymlink
	case m.IsRegular():
		return wire.TypeFile
	}
	return wire.TypeOther
}

// octal are the permissions with setuid, setgid and sticky, as chmod takes them.
func octal(m fs.FileMode) string {
	bits := uint64(m.Perm())
	for flag, bit := range map[fs.FileMode]uint64{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if m&flag != 0 {
			bits |= bit
		}
	}
	s := strconv.FormatUint(bits, 8)
	return strings.Repeat("0", max(0, 4-len(s))) + s
}

func describeFile(w http.ResponseWriter, f webspace.FileInfo) {
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Lanyard-Type", string(typeOf(f.Mode)))
	h.Set("X-Lanyard-Mode", octal(f.Mode))
	h.Set("X-Lanyard-Uid", strconv.Itoa(f.UID))
	h.Set("X-Lanyard-Gid", strconv.Itoa(f.GID))
	if !f.ModTime.IsZero() {
		h.Set("Last-Modified", f.ModTime.UTC().Format(http.TimeFormat))
	}
	if f.Mode.IsRegular() {
		h.Set("Content-Disposition", "attachment") // never shown by a browser as a page of ours
	}
}

func entryOf(f webspace.FileInfo) wire.FileEntry {
	uid, gid := int64(f.UID), int64(f.GID)
	e := wire.FileEntry{Name: f.Name, Type: typeOf(f.Mode), Mode: octal(f.Mode), Size: f.Size, UID: &uid, GID: &gid}
	if !f.ModTime.IsZero() {
		e.Modified = &f.ModTime
	}
	if f.Target != "" {
		e.Target = &f.Target
	}
	return e
}

// WriteFile writes a file, a directory or a symlink.
func (o operations) WriteFile(w http.ResponseWriter, r *http.Request, username string, params wire.WriteFileParams) {
	info, kind, err := fileFrom(params)
	if err != nil {
		o.problem(w, r, err)
		return
	}
	ctx, release, who, name, err := o.file(r, username, params.Path)
	if err != nil {
		o.problem(w, r, err)
		return
	}
	defer release()
	if r.ContentLength > o.o.MaxFile {
		o.problem(w, r, &failure{code: codeTooLarge, cause: "at most " + strconv.FormatInt(o.o.MaxFile, 10) + " bytes are taken"})
		return
	}
	control := http.NewResponseController(w)
	body := &pacedReader{http.MaxBytesReader(w, r.Body, o.o.MaxFile), control}
	switch kind {
	case wire.TypeFile:
		err = o.o.Webspaces.WriteFile(ctx, who.UID, name, info, body)
	case wire.TypeDirectory:
		err = o.o.Webspaces.MakeDir(ctx, who.UID, name, info)
	case wire.TypeSymlink:
		err = o.symlink(ctx, who.UID, name, body)
	}
	_ = control.SetReadDeadline(time.Time{})
	if cause := lost(ctx); err != nil && cause != nil {
		err = cause // why it was ended
	}
	o.audit(r, "file.write", username, who, []slog.Attr{slog.String("file", clip(name, 300)), slog.String("type", string(kind))}, err)
	if err != nil {
		o.problem(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func fileFrom(p wire.WriteFileParams) (info webspace.FileInfo, kind wire.FileType, err error) {
	kind = wire.TypeFile
	if p.Type != nil {
		kind = *p.Type
	}
	if kind != wire.TypeFile && kind != wire.TypeDirectory && kind != wire.TypeSymlink {
		return info, kind, fail(codeInvalid, "", "type must be file, directory or symlink")
	}
	if p.Mode != nil {
		bits, err := strconv.ParseUint(*p.Mode, 8, 12)
		if err != nil {
			return info, kind, fail(codeInvalid, "", "mode must be octal, up to 7777")
		}
		info.Mode = fs.FileMode(bits & 0o777)
		for flag, bit := range map[fs.FileMode]uint64{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
			if bits&bit != 0 {
				info.Mode |= flag
			}
		}
	}
	for _, n := range []struct {
		from *int64
		into *int
	}{{p.UID, &info.UID}, {p.GID, &info.GID}} {
		if n.from == nil {
			continue
		}
		if *n.from < 0 || *n.from > 1<<31-1 {
			return info, kind, fail(codeInvalid, "", "uid and gid must be from 0 to 2147483647")
		}
		*n.into = int(*n.from)
	}
	return info, kind, nil
}

// symlink makes one whose target is the body; what was there is replaced, unless it is a directory.
func (o operations) symlink(ctx context.Context, uid int, name string, body io.Reader) error {
	target, err := io.ReadAll(io.LimitReader(body, 4097))
	if err != nil {
		return err
	}
	if len(target) == 0 || len(target) > 4096 {
		return fail(codeInvalid, "", "the target of a symlink must be of 1 to 4096 bytes")
	}
	conn, err := o.o.Webspaces.SFTP(ctx, uid)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	c, err := sftp.NewClientPipe(conn, conn)
	if err != nil {
		return &failure{code: codeInternal, what: "the files cannot be reached", err: err}
	}
	defer c.Close()
	if old, err := c.Lstat(name); err == nil && !old.IsDir() {
		if err := c.Remove(name); err != nil {
			return linkFailed(err)
		}
	}
	return linkFailed(c.Symlink(string(target), name))
}

func linkFailed(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fail(codeNotFound, "the symlink cannot be made", "its directory does not exist")
	}
	return &failure{code: codeInvalid, what: "the symlink cannot be made", cause: "something else is there, or the directory does not let it", err: err}
}

// DeleteFile removes a file, or an empty directory.
func (o operations) DeleteFile(w http.ResponseWriter, r *http.Request, username string, params wire.DeleteFileParams) {
	_, release, _, name, err := o.file(r, username, params.Path)
	if err != nil {
		o.problem(w, r, err)
		return
	}
	defer release()
	if o.change(w, r, username, change{action: "file.delete", about: []slog.Attr{slog.String("file", clip(name, 300))},
		do: func(ctx context.Context, who account.Identity) error {
			return o.o.Webspaces.Remove(ctx, who.UID, name)
		}}) {
		w.WriteHeader(http.StatusNoContent)
	}
}

// pacedWriter gives each piece of a file its time.
type pacedWriter struct {
	w       io.Writer
	control *http.ResponseController
}

func (p *pacedWriter) Write(b []byte) (int, error) {
	_ = p.control.SetWriteDeadline(time.Now().Add(streamChunk))
	return p.w.Write(b)
}

type pacedReader struct {
	r       io.Reader
	control *http.ResponseController
}

func (p *pacedReader) Read(b []byte) (int, error) {
	_ = p.control.SetReadDeadline(time.Now().Add(streamChunk))
	return p.r.Read(b)
}
