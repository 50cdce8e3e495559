package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"sync"
	"time"

	"github.com/lanyard-project/lanyard/simplestreams"
)

// OpenFunc reads the source from a byte on, and says how long the whole is (-1: unknown).
type OpenFunc func(ctx context.Context, from int64) (io.ReadCloser, int64, error)

// Want is a file that is to be fetched.
type Want struct {
	Name   string // for messages
	SHA256 string
	Size   int64
	Open   OpenFunc
	// Prefix and Combined, if given: the SHA-256 of those bytes and the file's must be this one too.
	Prefix   []byte
	Combined string
	// Wrong, if given, is told when the bytes were not what they should be.
	Wrong func(error)
}

type failure struct {
	err   error
	until time.Time
}

// Download is a file on its way. Any number of readers may follow it.
type Download struct {
	want     Want
	file     *os.File // the partial one; open as long as there are readers or the writer
	reserved int64

	mu      sync.Mutex
	changed chan struct{} // closed and made anew with each step
	got     int64         // bytes written
	done    bool
	err     error
	users   int
}

// hold is how much of a file's end a follower does not get before all of it is verified: no client can complete a file
// whose bytes are wrong.
const hold = 64 << 10

const (
	chunk    = 256 << 10
	attempts = 5 // of a download without a byte in between
)

// Fetch begins to fetch a file, or joins whoever does so already. The download goes on when ctx ends, for the next one who
// asks. The caller closes the Download.
func (s *Store) Fetch(w Want) (*Download, error) {
	if !sum.MatchString(w.SHA256) || w.Size < 0 {
		return nil, &simplestreams.Problem{What: "fetch " + w.Name, Cause: "its checksum or size is unknown", Kind: simplestreams.ErrInvalid}
	}
	s.mu.Lock()
	if d, ok := s.flying[w.SHA256]; ok && d.join() {
		s.mu.Unlock()
		return d, nil
	}
	if f, ok := s.failed[w.SHA256]; ok {
		if time.Now().Before(f.until) {
			s.mu.Unlock()
			return nil, f.err
		}
		delete(s.failed, w.SHA256)
	}
	s.mu.Unlock()
	if err := s.reserve(w.Size); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if d, ok := s.flying[w.SHA256]; ok && d.join() {
		return d, nil
	}
	if s.files[w.SHA256] != nil { // it has just come
		if f, err := os.Open(s.path(w.SHA256)); err == nil {
			return &Download{want: w, file: f, changed: make(chan struct{}), users: 1, got: w.Size, done: true}, nil
		}
	}
	if s.closed {
		return nil, &simplestreams.Problem{What: "fetch " + w.Name, Cause: "the server is ending", Kind: simplestreams.ErrBusy}
	}
	f, err := os.OpenFile(s.partial(w.SHA256), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, &simplestreams.Problem{What: "fetch " + w.Name, Cause: "the cache cannot be written: " + err.Error(), Next: "check images.cache", Kind: simplestreams.ErrBusy, Err: err}
	}
	d := &Download{want: w, file: f, reserved: w.Size, changed: make(chan struct{}), users: 2} // the writer and the caller
	s.flying[w.SHA256] = d
	s.group.Add(1)
	go s.run(d)
	return d, nil
}

// run fetches and verifies, then files the result.
func (s *Store) run(d *Download) {
	defer s.group.Done()
	err := s.write(d)
	if err == nil {
		if err = s.keep(d.want.SHA256, s.partial(d.want.SHA256)); err != nil {
			err = &simplestreams.Problem{What: "keep " + d.want.Name, Cause: "the cache cannot be written: " + err.Error(), Next: "check images.cache", Kind: simplestreams.ErrBusy, Err: err}
		}
	}
	wrong := errors.Is(err, simplestreams.ErrCorrupt)
	if wrong {
		_ = os.Remove(s.partial(d.want.SHA256))
		if d.want.Wrong != nil {
			d.want.Wrong(err)
		}
	}
	s.mu.Lock()
	delete(s.flying, d.want.SHA256)
	if wrong {
		if len(s.failed) > 10_000 {
			clear(s.failed)
		}
		s.failed[d.want.SHA256] = failure{err, time.Now().Add(s.o.Forget)}
	}
	s.mu.Unlock()
	d.finish(err)
	d.Close()
}

// write gets all the bytes into the partial file, in as many attempts as make progress.
func (s *Store) write(d *Download) error {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
	whole, combined := sha256.New(), hash.Hash(nil)
	sums := []io.Writer{whole}
	if d.want.Combined != "" {
		combined = sha256.New()
		combined.Write(d.want.Prefix)
		sums = append(sums, combined)
	}
	all := io.MultiWriter(sums...)
	if err := d.resume(all); err != nil {
		return err
	}
	wait := s.o.Retry
	for failed := 0; d.got < d.want.Size; {
		before := d.got
		err := d.attempt(s.ctx, all)
		if err == nil {
			break
		}
		if d.got > before {
			failed, wait = 0, s.o.Retry
		}
		failed++
		if s.ctx.Err() != nil || failed >= attempts || errors.Is(err, simplestreams.ErrCorrupt) || errors.Is(err, simplestreams.ErrNotFound) || errors.Is(err, simplestreams.ErrLimited) {
			return err
		}
		select {
		case <-time.After(wait):
			wait *= 2
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
	}
	if got := hex.EncodeToString(whole.Sum(nil)); got != d.want.SHA256 {
		return d.corrupt(fmt.Sprintf("its SHA-256 is %s, and should be %s", got, d.want.SHA256))
	}
	if combined != nil {
		if got := hex.EncodeToString(combined.Sum(nil)); got != d.want.Combined {
			return d.corrupt(fmt.Sprintf("its combined SHA-256 (the image's fingerprint) is %s, and should be %s", got, d.want.Combined))
		}
	}
	return nil
}

func (d *Download) corrupt(cause string) error {
	return &simplestreams.Problem{What: "fetch " + d.want.Name, Cause: cause, Next: "lanyard images verify", Kind: simplestreams.ErrCorrupt}
}

// resume hashes what an earlier attempt has left.
func (d *Download) resume(sums io.Writer) error {
	info, err := d.file.Stat()
	if err != nil {
		return err
	}
	if info.Size() > d.want.Size {
		return d.file.Truncate(0)
	}
	n, err := io.Copy(sums, io.NewSectionReader(d.file, 0, info.Size()))
	d.advance(n)
	return err
}

// attempt asks the source once, for what is missing.
func (d *Download) attempt(ctx context.Context, sums io.Writer) error {
	from := d.got
	body, size, err := d.want.Open(ctx, from)
	if err != nil {
		return err
	}
	defer body.Close()
	if size >= 0 && size != d.want.Size {
		return d.corrupt(fmt.Sprintf("it is %d bytes long, and should be %d", size, d.want.Size))
	}
	buffer := make([]byte, chunk)
	for {
		n, err := io.ReadFull(body, buffer[:min(int64(chunk), d.want.Size-d.got+1)])
		if d.got+int64(n) > d.want.Size {
			return d.corrupt(fmt.Sprintf("it is longer than %d bytes", d.want.Size))
		}
		if n > 0 {
			if err := writeSparse(d.file, buffer[:n], d.got); err != nil {
				return &simplestreams.Problem{What: "fetch " + d.want.Name, Cause: "the cache cannot be written: " + err.Error(), Next: "check images.cache", Kind: simplestreams.ErrBusy, Err: err}
			}
			sums.Write(buffer[:n])
			d.advance(int64(n))
		}
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			if d.got < d.want.Size {
				return &simplestreams.Problem{What: "fetch " + d.want.Name, Cause: fmt.Sprintf("it ended after %d of %d bytes", d.got, d.want.Size), Next: "it is tried again", Kind: simplestreams.ErrUpstream, Err: io.ErrUnexpectedEOF}
			}
			return nil
		case err != nil:
			return err
		}
	}
}

var zeroes [chunk]byte

// writeSparse leaves holes where there are only zeroes, as in the images of disks.
func writeSparse(f *os.File, b []byte, at int64) error {
	if string(b) == string(zeroes[:len(b)]) {
		return f.Truncate(at + int64(len(b)))
	}
	_, err := f.WriteAt(b, at)
	return err
}

func (d *Download) advance(n int64) {
	d.mu.Lock()
	d.got += n
	d.step()
	d.mu.Unlock()
}

func (d *Download) finish(err error) {
	d.mu.Lock()
	d.done, d.err = true, err
	d.step()
	d.mu.Unlock()
}

func (d *Download) step() {
	close(d.changed)
	d.changed = make(chan struct{})
}

// join adds a reader; false when the download has ended.
func (d *Download) join() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.done {
		return false
	}
	d.users++
	return true
}

// Close ends one reader's interest.
func (d *Download) Close() {
	d.mu.Lock()
	d.users--
	last := d.users == 0
	d.mu.Unlock()
	if last {
		d.file.Close()
	}
}

// Progress says how much is here, of how much.
func (d *Download) Progress() (got, size int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.got, d.want.Size
}

// Wait waits for the end of the download or of ctx. Each step, at most, is called now and then with the progress so far.
func (d *Download) Wait(ctx context.Context, each func(got, size int64)) error {
	for {
		d.mu.Lock()
		done, err, got, changed := d.done, d.err, d.got, d.changed
		d.mu.Unlock()
		if each != nil {
			each(got, d.want.Size)
		}
		if done {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Reader follows the download from its beginning. It gives the last bytes only of a verified file, and fails before them
// otherwise.
func (d *Download) Reader(ctx context.Context) io.Reader { return &follower{d: d, ctx: ctx} }

type follower struct {
	d   *Download
	ctx context.Context
	at  int64
}

func (r *follower) Read(p []byte) (int, error) {
	d := r.d
	for {
		d.mu.Lock()
		done, err, got, changed := d.done, d.err, d.got, d.changed
		d.mu.Unlock()
		limit := min(got, d.want.Size-hold)
		switch {
		case done && err != nil:
			return 0, err
		case done:
			limit = d.want.Size
		}
		if r.at < limit {
			n, err := d.file.ReadAt(p[:min(int64(len(p)), limit-r.at)], r.at)
			r.at += int64(n)
			if n > 0 {
				return n, nil
			}
			return 0, err
		}
		if done {
			return 0, io.EOF
		}
		select {
		case <-changed:
		case <-r.ctx.Done():
			return 0, r.ctx.Err()
		}
	}
}
