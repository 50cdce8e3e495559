package archive

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/therootcompany/xz"
)

// Limits of what is read.
const (
	MaxUnpacked = 64 << 20 // bytes of the tar, unpacked, up to metadata.yaml or to its end
	MaxEntries  = 10_000   // of the tar
	MaxMetadata = 1 << 20  // bytes of metadata.yaml
	maxName     = 4096     // bytes of an entry's name
	maxWindow   = 64 << 20 // bytes of memory that xz may ask for (xz -9 does)
)

var errTooLong = fmt.Errorf("unpacked, it is longer than %d MiB", MaxUnpacked>>20)

// Split reads the tar of a split image (metadata and templates, no root) to its end.
func Split(r io.Reader) (Metadata, error) { return read(r, true) }

// Unified reads a tar that also holds the root, only as far as metadata.yaml.
func Unified(r io.Reader) (Metadata, error) { return read(r, false) }

func read(r io.Reader, whole bool) (Metadata, error) {
	plain, err := unpack(r)
	if err != nil {
		return Metadata{}, err
	}
	limited := &limit{r: plain, left: MaxUnpacked}
	t := tar.NewReader(limited)
	var found *Metadata
	for n := 0; ; n++ {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Metadata{}, fmt.Errorf("this is no tar, or a broken one: %w", err)
		}
		if n >= MaxEntries {
			return Metadata{}, fmt.Errorf("it has more than %d entries", MaxEntries)
		}
		if err := checkEntry(h, whole); err != nil {
			return Metadata{}, err
		}
		if path.Clean(h.Name) != "metadata.yaml" {
			continue
		}
		switch {
		case found != nil:
			return Metadata{}, errors.New("it has metadata.yaml twice")
		case h.Typeflag != tar.TypeReg:
			return Metadata{}, errors.New("its metadata.yaml is no regular file")
		case h.Size > MaxMetadata:
			return Metadata{}, fmt.Errorf("its metadata.yaml is longer than %d bytes", MaxMetadata)
		}
		b, err := io.ReadAll(io.LimitReader(t, MaxMetadata))
		if err != nil {
			return Metadata{}, fmt.Errorf("its metadata.yaml cannot be read: %w", err)
		}
		m, err := ParseMetadata(b)
		if err != nil {
			return Metadata{}, err
		}
		if !whole {
			return m, nil
		}
		found = &m
	}
	if found == nil {
		return Metadata{}, errors.New("it has no metadata.yaml")
	}
	// What follows the tar's end is padding; reading it lets the compressed form check its own sums.
	if _, err := io.Copy(io.Discard, limited); err != nil {
		return Metadata{}, fmt.Errorf("it is broken: %w", err)
	}
	return *found, nil
}

// checkEntry refuses what would leave the folder where the tar is unpacked. In a split image there is no reason for
// devices or hard links either.
func checkEntry(h *tar.Header, split bool) error {
	if len(h.Name) > maxName || len(h.Linkname) > maxName {
		return fmt.Errorf("a name in it is longer than %d bytes", maxName)
	}
	if escapes(h.Name) {
		return fmt.Errorf("it is hostile: %.100q leads outside", h.Name)
	}
	if !split {
		if h.Typeflag == tar.TypeLink && escapes(h.Linkname) {
			return fmt.Errorf("it is hostile: the link %.100q leads outside", h.Name)
		}
		return nil
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeDir, tar.TypeXGlobalHeader:
	case tar.TypeSymlink:
		if path.IsAbs(h.Linkname) || escapes(path.Join(path.Dir(path.Clean(h.Name)), h.Linkname)) {
			return fmt.Errorf("it is hostile: the link %.100q leads outside", h.Name)
		}
	default:
		return fmt.Errorf("it has %.100q, which is neither a file nor a folder", h.Name)
	}
	return nil
}

func escapes(name string) bool {
	if path.IsAbs(name) || strings.ContainsAny(name, "\\\x00") {
		return true
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return true
		}
	}
	return false
}

// unpack looks at the first bytes: LXD does not go by names either.
func unpack(r io.Reader) (io.Reader, error) {
	b := bufio.NewReaderSize(r, 32<<10)
	head, err := b.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("it cannot be read: %w", err)
	}
	switch {
	case len(head) == 0:
		return nil, errors.New("it is empty")
	case bytes.HasPrefix(head, []byte("\xfd7zXZ\x00")):
		x, err := xz.NewReader(b, maxWindow)
		if err != nil {
			return nil, fmt.Errorf("it is no xz file: %w", err)
		}
		return x, nil
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, fmt.Errorf("it is no gzip file: %w", err)
		}
		return z, nil
	}
	return b, nil
}

// limit is io.LimitReader that says so.
type limit struct {
	r    io.Reader
	left int64
}

func (l *limit) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, errTooLong
	}
	if int64(len(p)) > l.left {
		p = p[:l.left]
	}
	n, err := l.r.Read(p)
	l.left -= int64(n)
	return n, err
}
