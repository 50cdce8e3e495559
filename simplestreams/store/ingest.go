package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/lanyard-project/lanyard/simplestreams"
)

// Ingest reads a file whose checksum nobody told, and gives it; also sees the bytes on their way. With keep the file enters
// the store, unless it does not fit.
func (s *Store) Ingest(ctx context.Context, name string, size int64, open OpenFunc, also io.Writer, keep bool) (string, error) {
	body, whole, err := open(ctx, 0)
	if err != nil {
		return "", err
	}
	defer body.Close()
	if whole >= 0 && whole != size {
		return "", &simplestreams.Problem{What: "fetch " + name, Cause: fmt.Sprintf("it is %d bytes long, and should be %d", whole, size), Kind: simplestreams.ErrCorrupt}
	}
	digest := sha256.New()
	sinks := []io.Writer{digest}
	if also != nil {
		sinks = append(sinks, also)
	}
	var f *os.File
	if keep && s.reserve(size) == nil {
		if f, err = os.CreateTemp(filepath.Join(s.o.Dir, "new"), "*"); err == nil {
			defer os.Remove(f.Name()) // no longer there once kept
			defer f.Close()
			sinks = append(sinks, f)
		}
	}
	n, err := io.Copy(io.MultiWriter(sinks...), io.LimitReader(body, size+1))
	var p *simplestreams.Problem
	switch {
	case errors.As(err, &p):
		return "", err
	case err != nil:
		return "", &simplestreams.Problem{What: "fetch " + name, Cause: err.Error(), Next: "it is tried again", Kind: simplestreams.ErrUpstream, Err: err}
	case n < size:
		return "", &simplestreams.Problem{What: "fetch " + name, Cause: fmt.Sprintf("it ended after %d of %d bytes", n, size), Next: "it is tried again", Kind: simplestreams.ErrUpstream, Err: io.ErrUnexpectedEOF}
	case n > size:
		return "", &simplestreams.Problem{What: "fetch " + name, Cause: fmt.Sprintf("it is longer than %d bytes", size), Kind: simplestreams.ErrCorrupt}
	}
	sha := hex.EncodeToString(digest.Sum(nil))
	if f != nil {
		if err := s.keep(sha, f.Name()); err != nil {
			return "", &simplestreams.Problem{What: "keep " + name, Cause: "the cache cannot be written: " + err.Error(), Next: "check images.cache", Kind: simplestreams.ErrBusy, Err: err}
		}
	}
	return sha, nil
}
