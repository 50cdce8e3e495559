package webspace

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/lxc/incus/shared/api"
)

// ImageCopy is an image of a simplestreams server that LXD is to have, and to keep as it is there.
type ImageCopy struct {
	Server string // https://HOST/OWNER/NAME
	Name   string // the image's alias there
	Alias  string // here; default Name
	CA     string // PEM: certificate that the server is known by, beside those that the machine trusts
}

// ImageCopied says what became of it.
type ImageCopied struct {
	Fingerprint string
	Was         string // the fingerprint before; "" if the alias is new, the same if nothing was newer
}

// CopyImage makes LXD fetch an image and keep it up to date by itself, as `lxc image copy --auto-update --alias` does. If the
// alias is of an earlier copy, LXD looks for a newer version now. each, if given, is told what LXD says of its progress.
func (s *Store) CopyImage(ctx context.Context, c ImageCopy, each func(string)) (ImageCopied, error) {
	what := "copy image " + c.Name
	u, err := url.Parse(c.Server)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return ImageCopied{}, &Problem{What: "could not " + what, Cause: fmt.Sprintf("%q is no https URL; LXD takes no other", c.Server), Next: "write it as https://HOST/OWNER/NAME", Kind: ErrInvalid}
	}
	if c.Alias == "" {
		c.Alias = c.Name
	}
	var entry api.ImageAliasesEntry
	_, err = s.get(ctx, "look for image "+c.Alias, "/1.0/images/aliases/"+url.PathEscape(c.Alias), nil, &entry)
	switch {
	case errors.Is(err, ErrNotFound):
	case err != nil:
		return ImageCopied{}, err
	default:
		return s.refreshImage(ctx, c, entry.Target, each)
	}
	req := api.ImagesPost{
		ImagePut: api.ImagePut{AutoUpdate: true},
		Source: &api.ImagesPostSource{Type: "image", Mode: "pull",
			ImageSource: api.ImageSource{Server: c.Server, Protocol: "simplestreams", Alias: c.Name, Certificate: c.CA}},
		Aliases: []api.ImageAlias{{Name: c.Alias}},
	}
	if err := s.operateWith(ctx, what, "POST", "/1.0/images", req, each); err != nil {
		return ImageCopied{}, err
	}
	if _, err = s.get(ctx, "look for image "+c.Alias, "/1.0/images/aliases/"+url.PathEscape(c.Alias), nil, &entry); err != nil {
		return ImageCopied{}, err
	}
	return ImageCopied{Fingerprint: entry.Target}, nil
}

// refreshImage makes LXD look for a newer version of a copy.
func (s *Store) refreshImage(ctx context.Context, c ImageCopy, print string, each func(string)) (ImageCopied, error) {
	what := "refresh image " + c.Alias
	var image api.Image
	if _, err := s.get(ctx, what, "/1.0/images/"+url.PathEscape(print), nil, &image); err != nil {
		return ImageCopied{}, err
	}
	if from := image.UpdateSource; from == nil || from.Server != c.Server || from.Alias != c.Name || !image.AutoUpdate {
		return ImageCopied{}, &Problem{What: "could not " + what, Cause: "there is an image of that name already, which is no copy of this one",
			Next: "give another name with --as, or: lxc image alias delete " + c.Alias, Kind: ErrExists}
	}
	if err := s.operateWith(ctx, what, "POST", "/1.0/images/"+url.PathEscape(print)+"/refresh", nil, each); err != nil {
		return ImageCopied{}, err
	}
	var entry api.ImageAliasesEntry
	if _, err := s.get(ctx, what, "/1.0/images/aliases/"+url.PathEscape(c.Alias), nil, &entry); err != nil {
		return ImageCopied{}, err
	}
	return ImageCopied{Fingerprint: entry.Target, Was: print}, nil
}

const progressEvery = 300 * time.Millisecond

// operateWith is operate that tells the operation's progress meanwhile.
func (s *Store) operateWith(ctx context.Context, what, method, path string, body any, each func(string)) error {
	resp, _, err := s.request(context.WithoutCancel(ctx), userAgent, what, method, path, nil, body, "")
	if err != nil {
		return err
	}
	op, err := resp.MetadataAsOperation()
	if err != nil || op.ID == "" {
		return &Problem{What: what, Cause: "LXD's answer is not an operation", Next: "compare versions: lxd --version", Err: err}
	}
	if each == nil {
		return s.await(ctx, what, op)
	}
	watch, end := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for last := ""; ; {
			select {
			case <-tick.C:
			case <-watch.Done():
				return
			}
			var now api.Operation
			if _, err := s.get(watch, what, "/1.0/operations/"+url.PathEscape(op.ID), nil, &now); err != nil {
				continue // its end is await's to see
			}
			for _, key := range []string{"download_progress"} {
				if text, ok := now.Metadata[key].(string); ok && text != last {
					last = text
					each(text)
				}
			}
		}
	}()
	err = s.await(ctx, what, op)
	end()
	<-done
	return err
}
