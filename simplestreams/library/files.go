package library

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"

	"github.com/lanyard-project/lanyard/simplestreams"
	"github.com/lanyard-project/lanyard/simplestreams/catalog"
	"github.com/lanyard-project/lanyard/simplestreams/source"
	"github.com/lanyard-project/lanyard/simplestreams/store"
)

// Public is where anybody may fetch a file; "" if there is no such place.
func (l *Library) Public(ctx context.Context, r simplestreams.Repo, f *catalog.File) string {
	src, err := l.source(r)
	if err != nil {
		return ""
	}
	return src.Public(ctx, r, f.Asset)
}

// Open opens a file that is at hand: in the store, or in a local folder, which is believed as long as the file is the one
// that was hashed. False if it is not at hand.
func (l *Library) Open(ctx context.Context, r simplestreams.Repo, f *catalog.File) (*os.File, bool) {
	if kept, ok := l.o.Store.Open(f.SHA256); ok {
		return kept, true
	}
	src, err := l.source(r)
	if err != nil || !src.Local() {
		return nil, false
	}
	body, _, err := src.Open(ctx, r, f.Asset, 0)
	if err != nil {
		return nil, false
	}
	if file, ok := body.(*os.File); ok {
		return file, true
	}
	body.Close()
	return nil, false
}

// Fetch begins to fetch a file into the store, or joins whoever does. The caller closes the Download.
func (l *Library) Fetch(ctx context.Context, r simplestreams.Repo, i *catalog.Image, f *catalog.File) (*store.Download, error) {
	src, err := l.source(r)
	if err != nil {
		return nil, err
	}
	w := store.Want{Name: r.String() + "/" + i.Path(f.Name), SHA256: f.SHA256, Size: f.Asset.Size,
		Open: func(ctx context.Context, from int64) (io.ReadCloser, int64, error) {
			return src.Open(ctx, r, f.Asset, from)
		}}
	if f.Claimed { // what the release says of the fingerprint is checked on this occasion
		if w.Prefix, err = l.metadata(ctx, src, r, i.MetadataOf(f)); err != nil {
			return nil, err
		}
		w.Combined = f.Combined
	}
	w.Wrong = func(err error) {
		l.builder.MarkBad(src, r, f.Asset, err)
		l.mu.Lock()
		defer l.mu.Unlock()
		if e := l.repos[r]; e != nil {
			l.refresh(r, src, e, false) // so that it is offered no more
		}
	}
	return l.o.Store.Fetch(w)
}

// metadata reads a metadata file whole; the Builder has bounded its size.
func (l *Library) metadata(ctx context.Context, src source.Source, r simplestreams.Repo, f *catalog.File) ([]byte, error) {
	if f == nil {
		return nil, nil
	}
	body, ok := io.ReadCloser(nil), false
	if body, ok = l.o.Store.Open(f.SHA256); !ok {
		var err error
		if body, _, err = src.Open(ctx, r, f.Asset, 0); err != nil {
			return nil, err
		}
	}
	defer body.Close()
	b, err := io.ReadAll(io.LimitReader(body, f.Asset.Size))
	if err != nil {
		return nil, &simplestreams.Problem{What: "read " + f.Asset.Name, Err: err, Kind: simplestreams.ErrUpstream}
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != f.SHA256 {
		return nil, &simplestreams.Problem{What: "read " + f.Asset.Name, Cause: "its bytes are not those that were looked at", Kind: simplestreams.ErrCorrupt}
	}
	return b, nil
}

// prefetch fetches the newest version of every image.
func (l *Library) prefetch(r simplestreams.Repo, src source.Source, v *View) {
	if src.Local() {
		return
	}
	for _, i := range v.Catalog.Newest() {
		for k := range i.Files {
			if l.ctx.Err() != nil {
				return
			}
			if f := &i.Files[k]; !l.o.Store.Has(f.SHA256) {
				d, err := l.Fetch(l.ctx, r, i, f)
				if err == nil {
					err = d.Wait(l.ctx, nil)
					d.Close()
				}
				if err != nil && l.ctx.Err() == nil {
					l.o.Log.Warn("cannot prefetch", "repository", r.String(), "file", i.Path(f.Name), "err", err)
				}
			}
		}
	}
}
