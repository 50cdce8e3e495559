package server

import (
	"net/http"
	"strings"

	"github.com/lanyard-project/lanyard/simplestreams"
	"github.com/lanyard-project/lanyard/simplestreams/archive"
	"github.com/lanyard-project/lanyard/simplestreams/catalog"
	"github.com/lanyard-project/lanyard/simplestreams/library"
	"github.com/lanyard-project/lanyard/simplestreams/stream"
)

// direct answers `lxc image import URL`: LXD asks with HEAD, and takes hash and URL of a unified image from the headers.
func (s *Server) direct(w *recorder, req *http.Request, where place, v *library.View) error {
	name, version, _ := cutVersion(where.rest)
	image, file := unified(v.Catalog, name, version, architectures(req))
	if file == nil {
		return &simplestreams.Problem{What: "there is no such image", Cause: "no unified image (image.ARCH.tar.xz) has this name, version and architecture",
			Next: "use it as a remote: lxc remote add NAME https://HOST/" + where.repo.String() + " --protocol simplestreams", Kind: simplestreams.ErrNotFound}
	}
	scheme := "http"
	if req.TLS != nil || strings.EqualFold(req.Header.Get("X-Forwarded-Proto"), "https") {
		scheme = "https"
	}
	h := w.Header()
	h.Set("LXD-Image-Hash", file.SHA256)
	h.Set("LXD-Image-URL", scheme+"://"+req.Host+"/"+where.repo.String()+"/"+image.Path(file.Name))
	h.Set("Incus-Image-Hash", file.SHA256)
	h.Set("Incus-Image-URL", h.Get("LXD-Image-URL"))
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func cutVersion(rest string) (name, version string, ok bool) {
	k := strings.LastIndex(rest, "/v")
	if k < 0 || strings.Contains(rest[k+1:], "/") {
		return rest, "", false
	}
	return rest[:k], rest[k+2:], true
}

// architectures are those that a client says it runs; without a word, amd64.
func architectures(req *http.Request) []string {
	var out []string
	for _, h := range []string{"LXD-Server-Architectures", "Incus-Server-Architectures"} {
		for a := range strings.SplitSeq(req.Header.Get(h), ",") {
			if d, ok := archive.Architecture(strings.TrimSpace(a)); ok {
				out = append(out, d)
			}
		}
	}
	if out == nil {
		out = []string{"amd64"}
	}
	return out
}

// unified is the newest image of that name for the first of the architectures that has one.
func unified(c *catalog.Catalog, name, version string, archs []string) (*catalog.Image, *catalog.File) {
	for _, arch := range archs {
		for k := range c.Images { // newest first
			i := &c.Images[k]
			if i.Name != name || i.Arch != arch || version != "" && i.Version != version {
				continue
			}
			for f := range i.Files {
				if i.Files[f].Type == stream.LXDUnified {
					return i, &i.Files[f]
				}
			}
		}
	}
	return nil, nil
}

var _ http.Handler = (*Server)(nil)
