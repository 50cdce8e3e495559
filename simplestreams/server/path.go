package server

import (
	"net/url"
	"strings"

	"github.com/lanyard-project/lanyard/simplestreams"
	"github.com/lanyard-project/lanyard/simplestreams/stream"
)

// Kinds of requests, as the metrics name them.
const (
	kindHealth = "health"
	kindIndex  = "index"
	kindImages = "images"
	kindFile   = "file"
	kindDirect = "direct"
)

// place is what a URL asks for.
type place struct {
	kind string
	repo simplestreams.Repo
	rest string // the path below the repository
}

const maxPath = 1024

func nowhere(cause string) error {
	return &simplestreams.Problem{What: "there is nothing here", Cause: cause, Next: "use https://HOST/OWNER/NAME, as in: lxc remote add", Kind: simplestreams.ErrInvalid}
}

// parsePath is strict: nothing is cleaned, unescaped twice or guessed.
func parsePath(u *url.URL) (place, error) {
	p := u.Path
	if p == "/health" {
		return place{kind: kindHealth}, nil
	}
	if len(p) > maxPath || !strings.HasPrefix(p, "/") {
		return place{}, nowhere("the path is too long, or none")
	}
	escaped := strings.ToLower(u.EscapedPath())
	if strings.Contains(escaped, "%2f") || strings.Contains(escaped, "%5c") || strings.Contains(escaped, "%25") {
		return place{}, nowhere("the path has an escaped slash")
	}
	parts := strings.Split(p[1:], "/")
	for i, part := range parts {
		if part == "" && i == len(parts)-1 && i > 0 {
			return place{}, nowhere("the path ends with a slash")
		}
		if part == "" || part == "." || part == ".." || strings.ContainsFunc(part, func(r rune) bool { return r < 0x21 || r > 0x7e || r == '\\' }) {
			return place{}, nowhere("the path has a part that names nothing")
		}
	}
	if len(parts) < 3 {
		return place{}, nowhere("the path names no file of a repository")
	}
	repo, err := simplestreams.NewRepo(parts[0], parts[1])
	if err != nil {
		return place{}, err
	}
	out := place{repo: repo, rest: strings.Join(parts[2:], "/"), kind: kindDirect}
	switch {
	case out.rest == stream.IndexPath:
		out.kind = kindIndex
	case out.rest == stream.ImagesPath:
		out.kind = kindImages
	case parts[2] == "streams":
		return place{}, nowhere("there is only " + stream.IndexPath + " and " + stream.ImagesPath)
	case parts[2] == "images" && len(parts) >= 6:
		out.kind = kindFile
	}
	return out, nil
}
