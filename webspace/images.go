package webspace

import (
	"context"
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

// Images lists what webspaces can be made of: container images for this architecture that are not mere cache, by alias.
func (s *Service) Images(ctx context.Context) ([]Image, error) { panic("skeleton") }
