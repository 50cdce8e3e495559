package catalog

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/lanyard-project/lanyard/simplestreams"
	"github.com/lanyard-project/lanyard/simplestreams/archive"
	"github.com/lanyard-project/lanyard/simplestreams/source"
	"github.com/lanyard-project/lanyard/simplestreams/store"
	"github.com/lanyard-project/lanyard/simplestreams/stream"
)

// fact is what was found out about an asset, once.
type fact struct {
	SHA256   string            `json:"sha256,omitempty"`   // of its bytes, or for a file of a checksum: what is written in it
	Metadata *archive.Metadata `json:"metadata,omitempty"` // in it
	Combined map[string]string `json:"combined,omitempty"` // computed, by the checksum of the metadata
	Bad      string            `json:"bad,omitempty"`
	At       time.Time         `json:"at,omitzero"`
}

// job is the building of one catalogue.
type job struct {
	b      *Builder
	src    source.Source
	repo   simplestreams.Repo
	prefix string // of keys
	mu     sync.Mutex
	used   map[string]bool
}

// recall reads what is known of an asset; its error is a reason not to look again.
func (j *job) recall(a source.Asset) (fact, error) {
	key := j.prefix + a.ID
	j.mu.Lock()
	j.used[key] = true
	j.mu.Unlock()
	var f fact
	if !j.b.store.Get("facts", key, &f) {
		return fact{}, nil
	}
	if f.Bad != "" {
		if time.Since(f.At) < j.b.o.Doubt {
			return fact{}, bad("%s", f.Bad)
		}
		return fact{}, nil
	}
	return f, nil
}

// learn keeps a fact, or that the asset is bad if err says so. It gives err.
func (j *job) learn(a source.Asset, f fact, err error) error {
	if err != nil && !errors.Is(err, simplestreams.ErrCorrupt) {
		return err
	}
	if err != nil {
		f = fact{Bad: err.Error()}
	}
	f.At = time.Now().UTC()
	if werr := j.b.store.Put("facts", j.prefix+a.ID, f); werr != nil && err == nil {
		return &simplestreams.Problem{What: "keep what is known of " + a.Name, Err: werr, Next: "check images.cache", Kind: simplestreams.ErrBusy}
	}
	return err
}

// MarkBad remembers that the bytes of an asset are not what they should be.
func (b *Builder) MarkBad(src source.Source, r simplestreams.Repo, a source.Asset, reason error) {
	j := &job{b: b, src: src, repo: r, prefix: src.Name() + " " + r.String() + " "}
	_ = j.learn(a, fact{}, bad("%s", reason.Error()))
}

// forget drops what is known of assets that are no more.
func (j *job) forget() error {
	var gone []string
	for _, k := range j.b.store.Keys("facts", j.prefix) {
		if !j.used[k] {
			gone = append(gone, k)
		}
	}
	return j.b.store.Delete("facts", gone...)
}

func (j *job) open(a source.Asset) store.OpenFunc {
	return func(ctx context.Context, from int64) (io.ReadCloser, int64, error) {
		return j.src.Open(ctx, j.repo, a, from)
	}
}

var hexSum = regexp.MustCompile(`^[0-9a-f]{64}$`)

const maxSum = 64 << 10

// readSum reads a file that sha256sum has written.
func (j *job) readSum(ctx context.Context, a source.Asset) (string, error) {
	f, err := j.recall(a)
	if err != nil || f.SHA256 != "" {
		return f.SHA256, err
	}
	if a.Size > maxSum {
		return "", j.learn(a, f, bad("%s is too long for a checksum", a.Name))
	}
	body, _, err := j.src.Open(ctx, j.repo, a, 0)
	if err != nil {
		return "", err
	}
	defer body.Close()
	b, err := io.ReadAll(io.LimitReader(body, maxSum))
	if err != nil {
		return "", &simplestreams.Problem{What: "fetch " + a.Name, Err: err, Kind: simplestreams.ErrUpstream}
	}
	if int64(len(b)) < a.Size {
		return "", &simplestreams.Problem{What: "fetch " + a.Name, Cause: fmt.Sprintf("it ended after %d of %d bytes", len(b), a.Size), Kind: simplestreams.ErrUpstream}
	}
	first, _, _ := strings.Cut(strings.TrimSpace(strings.ToLower(string(b))), " ")
	first, _, _ = strings.Cut(first, "\n")
	if f.SHA256 = strings.TrimPrefix(strings.TrimSpace(first), "\\"); !hexSum.MatchString(f.SHA256) {
		return "", j.learn(a, f, bad("%s does not begin with a SHA-256 in hexadecimal digits", a.Name))
	}
	return f.SHA256, j.learn(a, f, nil)
}

// promised is what a file's SHA-256 should be: what the source says, or a file of the release; "" if nobody says.
func (j *job) promised(ctx context.Context, f *File, c *candidate) (string, error) {
	if f.Asset.SHA256 != "" {
		return f.Asset.SHA256, nil
	}
	if a, ok := c.sums[f.Asset.Name]; ok {
		return j.readSum(ctx, a)
	}
	return "", nil
}

// describe reads the metadata in a file, and settles its SHA-256.
func (j *job) describe(ctx context.Context, f *File, c *candidate) (archive.Metadata, error) {
	known, err := j.recall(f.Asset)
	if err != nil {
		return archive.Metadata{}, err
	}
	want, err := j.promised(ctx, f, c)
	if err != nil {
		return archive.Metadata{}, err
	}
	if known.Metadata == nil || known.SHA256 == "" {
		if f.Type == stream.LXDUnified {
			known, err = j.describeUnified(ctx, f, want)
		} else {
			known, err = j.describeSplit(ctx, f, want)
		}
		if err = j.learn(f.Asset, known, err); err != nil {
			return archive.Metadata{}, err
		}
	}
	if want != "" && known.SHA256 != want {
		return archive.Metadata{}, bad("the SHA-256 of %s is %s, and should be %s", f.Asset.Name, known.SHA256, want)
	}
	f.SHA256 = known.SHA256
	return *known.Metadata, nil
}

func (j *job) describeSplit(ctx context.Context, f *File, want string) (fact, error) {
	a := f.Asset
	if a.Size > j.b.o.MaxMetadata {
		return fact{}, bad("%s has %d bytes; metadata has %d at most", a.Name, a.Size, j.b.o.MaxMetadata)
	}
	var b bytes.Buffer
	sha, err := j.b.store.Ingest(ctx, a.Name, a.Size, j.open(a), &b, !j.src.Local())
	if err != nil {
		return fact{}, err
	}
	if want != "" && sha != want {
		return fact{}, bad("the SHA-256 of %s is %s, and should be %s", a.Name, sha, want)
	}
	m, err := archive.Split(&b)
	if err != nil {
		return fact{}, bad("%s: %s", a.Name, err)
	}
	return fact{SHA256: sha, Metadata: &m}, nil
}

func (j *job) describeUnified(ctx context.Context, f *File, want string) (fact, error) {
	a, sha := f.Asset, want
	if sha == "" {
		var err error
		if sha, err = j.compute(ctx, a, nil); err != nil {
			return fact{}, err
		}
	}
	body, _, err := j.src.Open(ctx, j.repo, a, 0)
	if err != nil {
		return fact{}, err
	}
	defer body.Close()
	m, err := archive.Unified(body)
	if p := (*simplestreams.Problem)(nil); errors.As(err, &p) {
		return fact{}, p // the source's fault
	}
	if err != nil {
		return fact{}, bad("%s: %s", a.Name, err)
	}
	return fact{SHA256: sha, Metadata: &m}, nil
}

// compute reads all of an asset.
func (j *job) compute(ctx context.Context, a source.Asset, also io.Writer) (string, error) {
	if j.b.o.NoCompute {
		return "", bad("%s has no checksum, and images.compute is off", a.Name)
	}
	return j.b.store.Ingest(ctx, a.Name, a.Size, j.open(a), also, j.b.o.Keep && !j.src.Local())
}

// root settles the checksums of a root: its own, and those together with each of the metadata files.
func (j *job) root(ctx context.Context, f *File, c *candidate, metadata []File) error {
	known, err := j.recall(f.Asset)
	if err != nil {
		return err
	}
	if f.SHA256, err = j.promised(ctx, f, c); err != nil {
		return err
	}
	claimed := ""
	if a, ok := c.combinedSum(f); ok {
		if claimed, err = j.readSum(ctx, a); err != nil {
			return err
		}
	}
	need := f.SHA256 == "" && known.SHA256 == "" || claimed == "" && known.Combined[metadata[0].SHA256] == ""
	for _, m := range metadata[1:] {
		need = need || m.SHA256 != metadata[0].SHA256 && known.Combined[m.SHA256] == ""
	}
	if need {
		known, err = j.combine(ctx, f, metadata)
		if err = j.learn(f.Asset, known, err); err != nil {
			return err
		}
	}
	if known.SHA256 != "" {
		if f.SHA256 != "" && f.SHA256 != known.SHA256 {
			return bad("the SHA-256 of %s is %s, and should be %s", f.Asset.Name, known.SHA256, f.SHA256)
		}
		f.SHA256 = known.SHA256
	}
	f.Combined = known.Combined[metadata[0].SHA256]
	switch {
	case f.Combined == "":
		f.Combined, f.Claimed = claimed, true
	case claimed != "" && claimed != f.Combined:
		return bad("the combined SHA-256 of %s is %s, and should be %s", f.Asset.Name, f.Combined, claimed)
	}
	for _, m := range metadata[1:] {
		if m.SHA256 != metadata[0].SHA256 {
			f.Incus = known.Combined[m.SHA256]
		}
	}
	return nil
}

// combine computes everything in one pass.
func (j *job) combine(ctx context.Context, f *File, metadata []File) (fact, error) {
	out := fact{Combined: map[string]string{}}
	sums := map[string]hash.Hash{}
	var all []io.Writer
	for _, m := range metadata {
		h := sha256.New()
		if _, err := j.b.store.Ingest(ctx, m.Asset.Name, m.Asset.Size, j.stored(m), h, false); err != nil {
			return out, err
		}
		sums[m.SHA256] = h
	}
	for _, h := range sums {
		all = append(all, h)
	}
	var err error
	if out.SHA256, err = j.compute(ctx, f.Asset, io.MultiWriter(all...)); err != nil {
		return out, err
	}
	for sha, h := range sums {
		out.Combined[sha] = hex.EncodeToString(h.Sum(nil))
	}
	return out, nil
}

// stored reads a file from the store if it is there, or else at its source.
func (j *job) stored(f File) store.OpenFunc {
	return func(ctx context.Context, from int64) (io.ReadCloser, int64, error) {
		if kept, ok := j.b.store.Open(f.SHA256); ok && from == 0 {
			return kept, f.Asset.Size, nil
		}
		return j.src.Open(ctx, j.repo, f.Asset, from)
	}
}
