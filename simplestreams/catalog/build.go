package catalog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lanyard-project/lanyard/simplestreams"
	"github.com/lanyard-project/lanyard/simplestreams/archive"
	"github.com/lanyard-project/lanyard/simplestreams/source"
	"github.com/lanyard-project/lanyard/simplestreams/store"
	"github.com/lanyard-project/lanyard/simplestreams/stream"
	"github.com/lanyard-project/lanyard/simplestreams/version"
)

// Options of a Builder. The zero value of each has a default.
type Options struct {
	Versions    int           // of each image, the newest; default 10
	MaxMetadata int64         // bytes of a metadata archive; default 16 MiB
	MaxImage    int64         // bytes of any other file; default 64 GiB
	NoCompute   bool          // leave out images whose checksums would have to be computed from all their bytes
	Keep        bool          // what was read to compute a checksum enters the store
	Parallel    int           // assets that are looked at at a time; default 4
	Doubt       time.Duration // an asset that was found bad is looked at again after; default 1 h
}

const maxSkips = 2000 // reasons that are kept of one repository

// Builder makes catalogues. It is safe for concurrent use.
type Builder struct {
	o     Options
	store *store.Store
	slots chan struct{}
}

// NewBuilder makes a Builder that keeps in s what it finds out.
func NewBuilder(s *store.Store, o Options) *Builder {
	o.Versions = cmp.Or(max(o.Versions, 0), 10)
	o.MaxMetadata = cmp.Or(max(o.MaxMetadata, 0), 16<<20)
	o.MaxImage = cmp.Or(max(o.MaxImage, 0), 64<<30)
	o.Parallel = cmp.Or(max(o.Parallel, 0), 4)
	o.Doubt = cmp.Or(max(o.Doubt, 0), time.Hour)
	return &Builder{o: o, store: s, slots: make(chan struct{}, o.Parallel)}
}

// offer is a release whose tag names an image.
type offer struct {
	release source.Release
	name    string
	version version.Version
}

// Build makes the catalogue of a repository out of the listing of its releases. It fails only with ctx.
func (b *Builder) Build(ctx context.Context, src source.Source, r simplestreams.Repo, l *source.Listing) (*Catalog, error) {
	c := &Catalog{Repo: r, Source: src.Name(), Built: time.Now().UTC(), Listed: l.At, Cut: l.Cut}
	j := &job{b: b, src: src, repo: r, prefix: src.Name() + " " + r.String() + " ", used: map[string]bool{}}
	var mu sync.Mutex
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(b.o.Parallel)
	for _, o := range b.choose(c, l) {
		for _, cand := range sorted(candidates(o.release)) {
			skip := Skip{Tag: o.release.Tag, Name: o.name, Arch: cand.arch, Version: o.version.String()}
			if skip.Reason = cand.complete(); skip.Reason != "" {
				mu.Lock()
				c.Skipped = append(c.Skipped, skip)
				mu.Unlock()
				continue
			}
			group.Go(func() error {
				i, err := j.image(gctx, o, cand)
				if gctx.Err() != nil {
					return gctx.Err()
				}
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					skip.Reason, skip.Passing = err.Error(), passing(err)
					c.Skipped = append(c.Skipped, skip)
					return nil
				}
				c.Images = append(c.Images, i)
				return nil
			})
		}
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	c.sort()
	if n := len(c.Skipped) - maxSkips; n > 0 {
		c.Skipped = append(c.Skipped[:maxSkips], Skip{Reason: fmt.Sprintf("and %d more", n)})
	}
	return c, j.forget()
}

// choose picks the newest releases of each image.
func (b *Builder) choose(c *Catalog, l *source.Listing) []offer {
	byName := map[string][]offer{}
	var names []string
	for _, r := range l.Releases {
		name, v, err := parseTag(r.Tag)
		switch {
		case r.Draft:
			c.Skipped = append(c.Skipped, Skip{Tag: r.Tag, Reason: "it is a draft"})
			continue
		case err != nil:
			c.Skipped = append(c.Skipped, Skip{Tag: r.Tag, Name: name, Reason: err.Error()})
			continue
		case len(candidates(r)) == 0:
			c.Skipped = append(c.Skipped, Skip{Tag: r.Tag, Name: name, Version: v.String(), Reason: "it has no files of an image"})
			continue
		}
		if byName[name] == nil {
			names = append(names, name)
		}
		byName[name] = append(byName[name], offer{r, name, v})
	}
	var out []offer
	for _, name := range names {
		all := byName[name]
		slices.SortStableFunc(all, func(a, b offer) int {
			return cmp.Or(day(b.release.Published).Compare(day(a.release.Published)), b.version.Compare(a.version))
		})
		for _, o := range all[min(len(all), b.o.Versions):] {
			c.Skipped = append(c.Skipped, Skip{Tag: o.release.Tag, Name: name, Version: o.version.String(), Old: true,
				Reason: fmt.Sprintf("there are %d newer ones (images.versions)", b.o.Versions)})
		}
		out = append(out, all[:min(len(all), b.o.Versions)]...)
	}
	return out
}

// day is what serials begin with, so that what is chosen is what clients would hold for the newest.
func day(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }

func sorted(m map[string]*candidate) []*candidate {
	var out []*candidate
	for _, c := range m {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b *candidate) int { return cmp.Compare(a.arch, b.arch) })
	return out
}

// passing says whether another attempt may go better.
func passing(err error) bool {
	for _, kind := range []error{simplestreams.ErrUpstream, simplestreams.ErrLimited, simplestreams.ErrBusy, simplestreams.ErrNotFound} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// image finds out everything about one image.
func (j *job) image(ctx context.Context, o offer, c *candidate) (Image, error) {
	select {
	case j.b.slots <- struct{}{}:
		defer func() { <-j.b.slots }()
	case <-ctx.Done():
		return Image{}, ctx.Err()
	}
	arch, _ := archive.Architecture(c.arch)
	i := Image{Name: o.name, Arch: arch, Version: o.version.String(), Tag: o.release.Tag, Prerelease: o.release.Prerelease}
	for _, f := range c.files {
		if f.Asset.Size > j.b.o.MaxImage {
			return i, bad("%s has %d bytes, which is more than images.max_image", f.Asset.Name, f.Asset.Size)
		}
	}
	var metadata []File // of a split image
	described := false
	for _, ftype := range []string{stream.LXDMetadata, stream.IncusMetadata, stream.LXDUnified} {
		f := c.file(ftype)
		if f == nil || ftype == stream.IncusMetadata && len(metadata) == 0 {
			continue
		}
		m, err := j.describe(ctx, f, c)
		if err != nil {
			return i, err
		}
		if m.Architecture != arch {
			return i, bad("%s says that it is for %s", f.Asset.Name, m.Architecture)
		}
		if !described {
			i.Metadata, described = m, true
		}
		if ftype != stream.LXDUnified {
			metadata = append(metadata, *f)
		}
		i.Files = append(i.Files, *f)
	}
	if len(metadata) > 0 {
		for _, ftype := range []string{stream.SquashFS, stream.RootXZ, stream.DiskKVM} {
			if f := c.file(ftype); f != nil {
				if err := j.root(ctx, f, c, metadata); err != nil {
					return i, err
				}
				i.Files = append(i.Files, *f)
			}
		}
	}
	i.Serial = version.Serial(i.Metadata.Created, o.version)
	return i, nil
}

func bad(format string, args ...any) error {
	return &simplestreams.Problem{What: fmt.Sprintf(format, args...), Kind: simplestreams.ErrCorrupt}
}
