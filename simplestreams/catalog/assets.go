package catalog

import (
	"regexp"
	"strings"

	"github.com/lanyard-project/lanyard/simplestreams/archive"
	"github.com/lanyard-project/lanyard/simplestreams/source"
	"github.com/lanyard-project/lanyard/simplestreams/stream"
)

// kinds of assets, in the order of preference where two would be one file.
var kinds = []struct {
	prefix, suffix string // around the architecture
	file           string // name in the path
	ftype          string
	combined       string // of combined.ARCH.X.sha256; "" for what is no root
}{
	{"lxd.", ".tar.xz", "lxd.tar.xz", stream.LXDMetadata, ""},
	{"incus.", ".tar.xz", "incus.tar.xz", stream.IncusMetadata, ""},
	{"rootfs.", ".squashfs", "rootfs.squashfs", stream.SquashFS, "squashfs"},
	{"rootfs.", ".tar.xz", "rootfs.tar.xz", stream.RootXZ, "tar.xz"},
	{"disk.", ".qcow2", "disk.qcow2", stream.DiskKVM, "qcow2"},
	{"disk-kvm.", ".img", "disk-kvm.img", stream.DiskKVM, "img"},
	{"image.", ".tar.xz", "image.tar.xz", stream.LXDUnified, ""},
	{"image.", ".tar.gz", "image.tar.gz", stream.LXDUnified, ""},
}

// candidate is what one release has for one architecture.
type candidate struct {
	arch     string            // as in the names of assets
	files    []File            // with name, type and asset
	combined map[string]string // by the type of a root: the suffix of its combined file
	sums     map[string]source.Asset
}

var archPattern = regexp.MustCompile(`^[a-z0-9_]{2,16}$`)

// candidates sorts the assets of a release by architecture.
func candidates(r source.Release) map[string]*candidate {
	out := map[string]*candidate{}
	sums := map[string]source.Asset{}
	for _, a := range r.Assets {
		if of, ok := strings.CutSuffix(a.Name, ".sha256"); ok {
			sums[of] = a
		}
	}
	for _, k := range kinds {
		for _, a := range r.Assets {
			arch, ok := strings.CutPrefix(a.Name, k.prefix)
			if arch, ok = cutSuffix(arch, k.suffix, ok); !ok || !archPattern.MatchString(arch) {
				continue
			}
			c := out[arch]
			if c == nil {
				c = &candidate{arch: arch, combined: map[string]string{}, sums: sums}
				out[arch] = c
			}
			if c.has(k.ftype) {
				continue // twice the same kind: the preferred one
			}
			c.files = append(c.files, File{Name: k.file, Type: k.ftype, Asset: a})
			if k.combined != "" {
				c.combined[k.ftype] = k.combined
			}
		}
	}
	return out
}

func cutSuffix(s, suffix string, ok bool) (string, bool) {
	if !ok {
		return "", false
	}
	return strings.CutSuffix(s, suffix)
}

func (c *candidate) has(ftype string) bool { return c.file(ftype) != nil }

func (c *candidate) file(ftype string) *File {
	for k := range c.files {
		if c.files[k].Type == ftype {
			return &c.files[k]
		}
	}
	return nil
}

// complete says what is missing for an image; "" if nothing is.
func (c *candidate) complete() string {
	if _, ok := archive.Architecture(c.arch); !ok {
		return "its architecture is unknown to LXD"
	}
	switch metadata := c.has(stream.LXDMetadata); {
	case c.has(stream.LXDUnified):
		return ""
	case !metadata && len(c.combined) == 0:
		return "lxd." + c.arch + ".tar.xz and a root are missing"
	case !metadata:
		return "lxd." + c.arch + ".tar.xz is missing"
	case len(c.combined) == 0:
		return "it has no root: rootfs." + c.arch + ".squashfs, rootfs." + c.arch + ".tar.xz or disk." + c.arch + ".qcow2"
	}
	return ""
}

// combinedSum is the asset with the combined hash of a root.
func (c *candidate) combinedSum(root *File) (source.Asset, bool) {
	if a, ok := c.sums["combined."+c.arch+"."+c.combined[root.Type]]; ok {
		return a, true
	}
	// Without more it is that of the only root, or of the squashfs.
	if len(c.combined) == 1 || root.Type == stream.SquashFS {
		a, ok := c.sums["combined."+c.arch]
		return a, ok
	}
	return source.Asset{}, false
}
