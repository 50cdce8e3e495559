package catalog

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/lanyard-project/lanyard/simplestreams"
	"github.com/lanyard-project/lanyard/simplestreams/archive"
	"github.com/lanyard-project/lanyard/simplestreams/source"
	"github.com/lanyard-project/lanyard/simplestreams/stream"
)

// Catalog is what one repository offers.
type Catalog struct {
	Repo    simplestreams.Repo `json:"repo"`
	Source  string             `json:"source"`
	Built   time.Time          `json:"built"`
	Listed  time.Time          `json:"listed"` // when the source was last asked, with success
	Images  []Image            `json:"images"` // by name and architecture, the newest version first
	Skipped []Skip             `json:"skipped,omitempty"`
	Cut     bool               `json:"cut,omitempty"` // the repository has more releases than are looked at
}

// Image is one version of an image for one architecture.
type Image struct {
	Name       string           `json:"name"`
	Arch       string           `json:"arch"`
	Version    string           `json:"version"`
	Serial     string           `json:"serial"`
	Tag        string           `json:"tag"`
	Prerelease bool             `json:"prerelease,omitempty"`
	Metadata   archive.Metadata `json:"metadata"`
	Files      []File           `json:"files"`
}

// File is one file of an image.
type File struct {
	Name     string       `json:"name"` // the last part of its path
	Type     string       `json:"type"` // of package stream; that of LXD for what LXD and Incus name differently
	Asset    source.Asset `json:"asset"`
	SHA256   string       `json:"sha256"`
	Combined string       `json:"combined,omitempty"`       // of a root: with LXD's metadata
	Incus    string       `json:"combined_incus,omitempty"` // of a root: with Incus' metadata, where that is another file
	Claimed  bool         `json:"claimed,omitempty"`        // Combined was read in a file of the release, and not computed
}

// Skip says why something is not offered.
type Skip struct {
	Tag     string `json:"tag"`
	Name    string `json:"image,omitempty"`
	Arch    string `json:"arch,omitempty"`
	Version string `json:"version,omitempty"`
	Reason  string `json:"reason"`
	Passing bool   `json:"passing,omitempty"` // it may be another with the next refresh
	Old     bool   `json:"old,omitempty"`     // nothing is wrong: there are newer ones
}

// Fingerprint is the name of the image in LXD.
func (i *Image) Fingerprint() string {
	for _, f := range i.Files {
		if f.Type == stream.LXDUnified {
			return f.SHA256
		}
		if f.Combined != "" {
			return f.Combined
		}
	}
	return ""
}

// Fingerprints are all names that clients may know it by.
func (i *Image) fingerprints() []string {
	var out []string
	for _, f := range i.Files {
		if f.Type == stream.LXDUnified {
			out = append(out, f.SHA256)
		}
		for _, sum := range []string{f.Combined, f.Incus} {
			if sum != "" {
				out = append(out, sum)
			}
		}
	}
	return out
}

// Size is that of all files.
func (i *Image) Size() (n int64) {
	for _, f := range i.Files {
		n += f.Asset.Size
	}
	return n
}

// Path of a file below the repository's URL.
func (i *Image) Path(file string) string {
	return "images/" + i.Name + "/" + i.Arch + "/v" + i.Version + "/" + file
}

// metadata is the file with metadata for LXD or, second, for Incus.
func (i *Image) metadata() (lxd, incus *File) {
	for k := range i.Files {
		switch i.Files[k].Type {
		case stream.LXDMetadata:
			lxd = &i.Files[k]
		case stream.IncusMetadata:
			incus = &i.Files[k]
		}
	}
	return lxd, incus
}

// MetadataOf is the metadata file that a root's combined hash is made with; nil for a file that is no root.
func (i *Image) MetadataOf(f *File) *File {
	if f.Combined == "" {
		return nil
	}
	lxd, _ := i.metadata()
	return lxd
}

// Find gives the file at a path.
func (c *Catalog) Find(path string) (*Image, *File) {
	for k := range c.Images {
		i := &c.Images[k]
		name, ok := strings.CutPrefix(path, i.Path(""))
		if !ok {
			continue
		}
		for f := range i.Files {
			if i.Files[f].Name == name {
				return i, &i.Files[f]
			}
		}
		// Metadata of one is metadata of the other.
		if lxd, incus := i.metadata(); name == stream.IncusMetadata && incus == nil && lxd != nil {
			return i, lxd
		}
	}
	return nil, nil
}

// Newest is the newest version of each image and architecture.
func (c *Catalog) Newest() []*Image {
	var out []*Image
	for k := range c.Images {
		i := &c.Images[k]
		if k == 0 || c.Images[k-1].Name != i.Name || c.Images[k-1].Arch != i.Arch {
			out = append(out, i)
		}
	}
	return out
}

// sort orders images, and drops those whose bytes a newer one has too: two images of one fingerprint confuse clients.
func (c *Catalog) sort() {
	slices.SortFunc(c.Images, func(a, b Image) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Arch, b.Arch), cmp.Compare(b.Serial, a.Serial))
	})
	seen := map[string]*Image{}
	kept := c.Images[:0:0]
	for k := range c.Images {
		i := &c.Images[k]
		var same *Image
		for _, f := range i.fingerprints() {
			if seen[f] != nil {
				same = seen[f]
			}
		}
		if same != nil {
			c.Skipped = append(c.Skipped, Skip{Tag: i.Tag, Name: i.Name, Arch: i.Arch, Version: i.Version,
				Reason: "its bytes are those of " + same.Tag + ", which is offered in its place"})
			continue
		}
		for _, f := range i.fingerprints() {
			seen[f] = i
		}
		kept = append(kept, *i)
	}
	c.Images = kept
	slices.SortStableFunc(c.Skipped, func(a, b Skip) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Arch, b.Arch), cmp.Compare(a.Tag, b.Tag))
	})
}
