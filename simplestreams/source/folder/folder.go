package folder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/lanyard-project/lanyard/simplestreams"
	"github.com/lanyard-project/lanyard/simplestreams/source"
)

// Limits of one repository.
const (
	maxDepth   = 8      // folders between repository and files
	maxEntries = 50_000 // files and folders
)

// Source is a folder with a folder for each owner.
type Source struct{ root *os.Root }

// New opens the folder.
func New(root string) (*Source, error) {
	r, err := os.OpenRoot(root)
	if err != nil {
		return nil, fmt.Errorf("open the folder of images: %w", err)
	}
	return &Source{root: r}, nil
}

// Close gives the folder back.
func (s *Source) Close() error { return s.root.Close() }

// Name is "folder".
func (*Source) Name() string { return "folder" }

// Local is true.
func (*Source) Local() bool { return true }

// Public is "": nobody else can read it.
func (*Source) Public(context.Context, simplestreams.Repo, source.Asset) string { return "" }

// Has says whether there is a folder for the repository.
func (s *Source) Has(r simplestreams.Repo) bool {
	_, err := s.find(r)
	return err == nil
}

// find is the path of a repository, in whatever case.
func (s *Source) find(r simplestreams.Repo) (string, error) {
	owner, err := s.child(".", r.Owner)
	if err != nil {
		return "", err
	}
	return s.child(owner, r.Name)
}

func (s *Source) child(dir, name string) (string, error) {
	exact := path.Join(dir, name)
	if info, err := s.root.Stat(exact); err == nil && info.IsDir() {
		return exact, nil
	}
	entries, err := fs.ReadDir(s.root.FS(), dir)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		if strings.EqualFold(e.Name(), name) {
			p := path.Join(dir, e.Name())
			if info, err := s.root.Stat(p); err == nil && info.IsDir() {
				return p, nil
			}
		}
	}
	return "", fs.ErrNotExist
}

// List reads the folder.
func (s *Source) List(ctx context.Context, r simplestreams.Repo, _ *source.Listing) (*source.Listing, error) {
	what := "list the folder of " + r.String()
	dir, err := s.find(r)
	if err != nil {
		kind := simplestreams.ErrUpstream
		if errors.Is(err, fs.ErrNotExist) {
			kind = simplestreams.ErrNotFound
		}
		return nil, &simplestreams.Problem{What: what, Cause: "it cannot be read", Next: "check the folder", Kind: kind, Err: err}
	}
	now := time.Now().UTC()
	out := &source.Listing{At: now, Full: now}
	w := walk{s: s, dir: dir, ctx: ctx, out: out, left: maxEntries}
	if err := w.folder(dir, 0); err != nil {
		return nil, &simplestreams.Problem{What: what, Cause: err.Error(), Next: "check the folder", Kind: simplestreams.ErrUpstream, Err: err}
	}
	slices.SortStableFunc(out.Releases, func(a, b source.Release) int { return b.Published.Compare(a.Published) })
	return out, nil
}

type walk struct {
	s    *Source
	dir  string
	ctx  context.Context
	out  *source.Listing
	left int
}

func (w *walk) folder(dir string, depth int) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	entries, err := fs.ReadDir(w.s.root.FS(), dir)
	if err != nil {
		return err
	}
	tag := strings.TrimPrefix(strings.TrimPrefix(dir, w.dir), "/")
	release := source.Release{Tag: tag}
	for _, e := range entries {
		if w.left--; w.left < 0 {
			w.out.Cut = true
			return nil
		}
		p := path.Join(dir, e.Name())
		info, err := w.s.root.Stat(p) // follows links, inside
		switch {
		case err != nil || strings.HasPrefix(e.Name(), "."):
		case info.IsDir():
			if depth < maxDepth {
				if err := w.folder(p, depth+1); err != nil {
					return err
				}
			}
		case info.Mode().IsRegular():
			release.Assets = append(release.Assets, source.Asset{ID: id(p, info), Name: e.Name(), Size: info.Size(), Updated: info.ModTime().UTC()})
			if info.ModTime().After(release.Published) {
				release.Published = info.ModTime().UTC()
			}
		}
	}
	if len(release.Assets) > 0 && tag != "" {
		w.out.Releases = append(w.out.Releases, release)
	}
	return nil
}

// id changes when the file does.
func id(p string, info fs.FileInfo) string {
	inode, changed := uint64(0), int64(0)
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		inode, changed = st.Ino, st.Ctim.Nano()
	}
	return fmt.Sprintf("%d.%d.%d.%d/%s", info.Size(), info.ModTime().UnixNano(), changed, inode, p)
}

// Open reads a file, if it is still the one that was listed.
func (s *Source) Open(_ context.Context, r simplestreams.Repo, a source.Asset, from int64) (io.ReadCloser, int64, error) {
	what := "read " + a.Name + " of " + r.String()
	_, p, ok := strings.Cut(a.ID, "/")
	if !ok {
		return nil, 0, &simplestreams.Problem{What: what, Cause: "it is no file of the folder", Kind: simplestreams.ErrNotFound}
	}
	f, err := s.root.Open(p)
	if err != nil {
		return nil, 0, &simplestreams.Problem{What: what, Cause: "it cannot be read", Next: "check the folder", Kind: simplestreams.ErrNotFound, Err: err}
	}
	info, err := f.Stat()
	if err == nil && (!info.Mode().IsRegular() || id(p, info) != a.ID) {
		err = errors.New("it has changed since it was listed")
	}
	if err == nil && from > 0 {
		_, err = f.Seek(from, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, 0, &simplestreams.Problem{What: what, Cause: err.Error(), Next: "it is listed anew within seconds", Kind: simplestreams.ErrUpstream, Err: err}
	}
	return f, info.Size(), nil
}
