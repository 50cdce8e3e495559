package catalog

import (
	"maps"
	"slices"
	"strings"

	"github.com/lanyard-project/lanyard/simplestreams/stream"
)

// Documents makes the two documents that clients read. Both are of one source: what one has the other has.
func (c *Catalog) Documents() (stream.Index, stream.Images) {
	images := stream.NewImages()
	for k := range c.Images {
		i := &c.Images[k]
		key := i.Name + ":" + i.Arch
		p, ok := images.Products[key]
		if !ok { // the newest version, which comes first, speaks for the product
			p = product(i)
		}
		p.Versions[i.Serial] = stream.Version{Label: i.Metadata.Properties["description"], PubName: i.Tag, Items: items(i)}
		images.Products[key] = p
	}
	return stream.NewIndex(slices.Sorted(maps.Keys(images.Products))), images
}

func product(i *Image) stream.Product {
	get := func(or string, keys ...string) string {
		for _, k := range keys {
			if v := i.Metadata.Properties[k]; v != "" {
				return v
			}
		}
		return or
	}
	p := stream.Product{
		Aliases: i.Name, Arch: i.Arch, OS: get(i.Name, "os"), Release: get("v"+i.Version, "release"),
		Version: get("", "version"), Variant: get("", "variant"), Versions: map[string]stream.Version{},
	}
	p.ReleaseTitle = get(p.Release, "release_title")
	if !i.Metadata.Expires.IsZero() {
		p.SupportEOL = i.Metadata.Expires.Format("2006-01-02")
	}
	for k, v := range i.Metadata.Properties {
		if name, ok := strings.CutPrefix(k, "requirements."); ok {
			if p.Requirements == nil {
				p.Requirements = map[string]string{}
			}
			p.Requirements[name] = v
		}
	}
	return p
}

// items are the files of an image, each metadata with the combined hashes of every root.
func items(i *Image) map[string]stream.Item {
	out := map[string]stream.Item{}
	item := func(f *File, ftype string) stream.Item {
		return stream.Item{FileType: ftype, SHA256: f.SHA256, Size: f.Asset.Size, Path: i.Path(f.Name)}
	}
	lxd, incus := i.metadata()
	for k := range i.Files {
		f := &i.Files[k]
		switch f.Type {
		case stream.LXDMetadata, stream.IncusMetadata:
		case stream.LXDUnified:
			out[stream.LXDUnified] = item(f, stream.LXDUnified)
			out[stream.IncusUnified] = item(f, stream.IncusUnified)
		default:
			out[f.Name] = item(f, f.Type)
		}
	}
	if lxd == nil {
		return out
	}
	own := item(lxd, stream.LXDMetadata)
	others := item(lxd, stream.IncusMetadata)
	others.Path = i.Path(stream.IncusMetadata)
	if incus != nil {
		others = item(incus, stream.IncusMetadata)
	}
	for k := range i.Files {
		f := &i.Files[k]
		combine(&own, f.Type, f.Combined)
		if f.Incus != "" {
			combine(&others, f.Type, f.Incus)
		} else {
			combine(&others, f.Type, f.Combined)
		}
	}
	out[stream.LXDMetadata], out[stream.IncusMetadata] = own, others
	return out
}

func combine(metadata *stream.Item, ftype, sum string) {
	switch ftype {
	case stream.SquashFS:
		metadata.CombinedSquashFS = sum
	case stream.RootXZ:
		metadata.CombinedRootXZ, metadata.Combined = sum, sum
	case stream.DiskKVM:
		metadata.CombinedDiskKVM = sum
	}
}
