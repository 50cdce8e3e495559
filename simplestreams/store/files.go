package store

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/lanyard-project/lanyard/simplestreams"
)

// file is one whole, verified file.
type file struct {
	Size     int64     `json:"size"`
	Modified int64     `json:"modified"` // nanoseconds, as when it was verified
	Used     time.Time `json:"used"`
	written  time.Time // when Used was last put into the index
}

var sum = regexp.MustCompile(`^[0-9a-f]{64}$`)

func (s *Store) path(sha string) string    { return filepath.Join(s.o.Dir, "files", sha[:2], sha) }
func (s *Store) partial(sha string) string { return filepath.Join(s.o.Dir, "partial", sha) }

const (
	touchEvery  = time.Minute
	keepPartial = 7 * 24 * time.Hour
)

// loadFiles compares index and disk: a file that is in only one of them, or has another size or date than when it was
// verified, goes.
func (s *Store) loadFiles() error {
	var gone []string
	for _, sha := range s.Keys("files", "") {
		f := &file{}
		if !s.Get("files", sha, f) || !sum.MatchString(sha) || !f.intact(s.path(sha)) {
			gone = append(gone, sha)
			continue
		}
		s.files[sha] = f
		s.total += f.Size
	}
	if err := s.Delete("files", gone...); err != nil {
		return fmt.Errorf("clean the cache: %w", err)
	}
	return filepath.WalkDir(s.o.Dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		old := false
		if info, err := d.Info(); err == nil {
			old = time.Since(info.ModTime()) > keepPartial
		}
		switch in, _ := filepath.Rel(s.o.Dir, filepath.Dir(p)); {
		case in == "new", in == "partial" && (old || !sum.MatchString(d.Name())):
			return os.Remove(p)
		case filepath.Dir(in) == "files" && s.files[d.Name()] == nil:
			return os.Remove(p)
		}
		return nil
	})
}

func (f *file) intact(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode().IsRegular() && info.Size() == f.Size && info.ModTime().UnixNano() == f.Modified
}

// Usage is the size of what is kept, and how many files.
func (s *Store) Usage() (bytes int64, files int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total, len(s.files)
}

// Max is the bound of Usage.
func (s *Store) Max() int64 { return s.o.MaxBytes }

// Has says whether a file is kept, without using it.
func (s *Store) Has(sha string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.files[sha] != nil
}

// Open opens a kept file for reading; false if there is none. It may be removed meanwhile: who has it open keeps it.
func (s *Store) Open(sha string) (*os.File, bool) {
	s.mu.Lock()
	f := s.files[sha]
	s.mu.Unlock()
	if f == nil {
		return nil, false
	}
	opened, err := os.Open(s.path(sha))
	if err == nil && f.intact(s.path(sha)) {
		s.touch(sha, f)
		return opened, true
	}
	if err == nil {
		opened.Close()
	}
	s.remove(sha)
	return nil, false
}

func (s *Store) touch(sha string, f *file) {
	now := time.Now().UTC()
	s.mu.Lock()
	f.Used = now
	write := now.Sub(f.written) > touchEvery
	if write {
		f.written = now
	}
	copied := *f
	s.mu.Unlock()
	if write {
		_ = s.Put("files", sha, copied) // at worst it is evicted too soon
	}
}

// remove forgets a file and unlinks it.
func (s *Store) remove(sha string) {
	s.mu.Lock()
	f := s.files[sha]
	delete(s.files, sha)
	if f != nil {
		s.total -= f.Size
	}
	s.mu.Unlock()
	_ = s.Delete("files", sha)
	_ = os.Remove(s.path(sha))
}

// keep moves a verified partial file to its name.
func (s *Store) keep(sha, from string) error {
	if err := os.MkdirAll(filepath.Dir(s.path(sha)), 0o700); err != nil {
		return err
	}
	if err := os.Rename(from, s.path(sha)); err != nil {
		return err
	}
	info, err := os.Lstat(s.path(sha))
	if err != nil {
		return err
	}
	now := time.Now().UTC()
	f := &file{Size: info.Size(), Modified: info.ModTime().UnixNano(), Used: now, written: now}
	if err := s.Put("files", sha, f); err != nil {
		return err
	}
	s.mu.Lock()
	if old := s.files[sha]; old != nil {
		s.total -= old.Size
	}
	s.files[sha] = f
	s.total += f.Size
	s.mu.Unlock()
	return nil
}

// reserve makes room for so many bytes more, beside those of downloads under way: first partial files go that nobody
// goes on with, then the file that was not used for the longest time.
func (s *Store) reserve(size int64) error {
	for {
		s.mu.Lock()
		need := s.total + size
		for _, d := range s.flying {
			need += d.reserved
		}
		leftovers, left := s.leftovers()
		if need+left <= s.o.MaxBytes {
			s.mu.Unlock()
			return nil
		}
		for _, p := range leftovers {
			_ = os.Remove(p)
		}
		oldest, at := "", time.Time{}
		for sha, f := range s.files {
			if c := cmp.Or(f.Used.Compare(at), cmp.Compare(sha, oldest)); oldest == "" || c < 0 {
				oldest, at = sha, f.Used
			}
		}
		s.mu.Unlock()
		switch {
		case need <= s.o.MaxBytes:
			return nil
		case oldest == "":
			return &simplestreams.Problem{What: "keep a file", Cause: fmt.Sprintf("its %d bytes do not fit into the cache of %d", size, s.o.MaxBytes),
				Next: "raise images.cache_size", Kind: simplestreams.ErrBusy}
		}
		s.remove(oldest)
	}
}

// leftovers are partial files that no download works on, and their size. The caller holds the lock.
func (s *Store) leftovers() (paths []string, bytes int64) {
	entries, err := os.ReadDir(filepath.Join(s.o.Dir, "partial"))
	if err != nil {
		return nil, 0
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && s.flying[e.Name()] == nil {
			paths = append(paths, filepath.Join(s.o.Dir, "partial", e.Name()))
			bytes += info.Size()
		}
	}
	return paths, bytes
}
