package webspace

import (
	"context"
	"errors"
	"io"
	"net/url"

	incus "github.com/lxc/incus/client"
	"github.com/lxc/incus/shared/api"
)

// ImportImage gives LXD an image: a tar with metadata.yaml and rootfs/ (LXD's unified form), compressed or not. It
// returns the fingerprint, the SHA-256 of the bytes. An image that is there already is ErrExists.
func (s *Store) ImportImage(ctx context.Context, tar io.Reader, properties map[string]string) (string, error) {
	const what = "import an image"
	c, err := s.client(ctx, userAgent)
	if err != nil {
		return "", s.failed(what, err)
	}
	defer c.Disconnect()
	c = c.UseProject(s.o.Project)
	op, err := c.CreateImage(api.ImagesPost{ImagePut: api.ImagePut{Properties: properties}}, &incus.ImageCreateArgs{MetaFile: tar})
	if err != nil {
		return "", s.failed(what, err)
	}
	if err := op.WaitContext(ctx); err != nil {
		return "", s.failed(what, err)
	}
	f, ok := op.Get().Metadata["fingerprint"].(string)
	if !ok || !fingerprint.MatchString(f) {
		return "", &Problem{What: "could not " + what, Cause: "LXD gave no fingerprint", Next: "see: lxc image list"}
	}
	return f, nil
}

// DeleteImage removes an image by its fingerprint. One that is not there is no error.
func (s *Store) DeleteImage(ctx context.Context, print string) error {
	if !fingerprint.MatchString(print) {
		return &Problem{What: "could not delete an image", Cause: "this is no fingerprint", Next: "see: lxc image list", Kind: ErrInvalid}
	}
	_, err := s.operate(ctx, "delete image "+print[:12], "DELETE", "/1.0/images/"+url.PathEscape(print), nil, nil, "")
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}
