package webspace

import (
	"cmp"
	"context"
	"net/url"
	"slices"

	"github.com/lxc/incus/shared/api"
)

// Image that a webspace can be made of.
type Image struct {
	Fingerprint string
	Aliases     []ImageAlias // never nil
	Properties  map[string]string
	Size        int64 // bytes
}

// ImageAlias is a name of an image.
type ImageAlias struct{ Name, Description string }

// Images lists what webspaces can be made of: container images for this machine that are not mere cache, by alias.
func (s *Service) Images(ctx context.Context) ([]Image, error) {
	var server api.Server
	if _, err := s.store.get(ctx, "ask LXD about itself", "/1.0", nil, &server); err != nil {
		return nil, err
	}
	var all []api.Image
	if _, err := s.store.get(ctx, "list the images", "/1.0/images", url.Values{"recursion": {"1"}}, &all); err != nil {
		return nil, err
	}
	images := []Image{}
	for _, raw := range all {
		other := len(server.Environment.Architectures) > 0 && !slices.Contains(server.Environment.Architectures, raw.Architecture)
		if raw.Cached || other || raw.Type != "" && raw.Type != string(api.InstanceTypeContainer) {
			continue
		}
		i := Image{Fingerprint: raw.Fingerprint, Aliases: []ImageAlias{}, Properties: raw.Properties, Size: raw.Size}
		if i.Properties == nil {
			i.Properties = map[string]string{}
		}
		for _, a := range raw.Aliases {
			i.Aliases = append(i.Aliases, ImageAlias{a.Name, a.Description})
		}
		slices.SortFunc(i.Aliases, func(a, b ImageAlias) int { return cmp.Compare(a.Name, b.Name) })
		images = append(images, i)
	}
	slices.SortFunc(images, func(a, b Image) int {
		return cmp.Or(cmp.Compare(a.first(), b.first()), cmp.Compare(a.Fingerprint, b.Fingerprint))
	})
	return images, nil
}

// first alias; those without one come last.
func (i Image) first() string {
	if len(i.Aliases) == 0 {
		return "\xff"
	}
	return i.Aliases[0].Name
}
