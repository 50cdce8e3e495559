package source

import (
	"context"
	"io"
	"time"

	"github.com/lanyard-project/lanyard/simplestreams"
)

// Source is a place with releases. Implementations are safe for concurrent use; their errors are simplestreams.Problem.
type Source interface {
	// Name of the source, for messages and keys: "github", "folder".
	Name() string
	// Has says whether the repository is this source's. It asks nobody.
	Has(simplestreams.Repo) bool
	// List lists the releases of a repository, newest publication first. before is an earlier answer or nil: what has not
	// changed since is not transferred again.
	List(ctx context.Context, r simplestreams.Repo, before *Listing) (*Listing, error)
	// Open reads an asset from a byte on, and says how long the whole is (-1: unknown).
	Open(ctx context.Context, r simplestreams.Repo, a Asset, from int64) (io.ReadCloser, int64, error)
	// Public is the URL where anybody may fetch an asset; "" if there is none. It may have to ask the source once for each repository.
	Public(ctx context.Context, r simplestreams.Repo, a Asset) string
	// Local says that reading an asset costs no more than reading a file.
	Local() bool
}

// Listing is the releases of a repository. It can be written as JSON.
type Listing struct {
	Releases []Release `json:"releases"`
	At       time.Time `json:"at"`             // when the source was last asked
	Full     time.Time `json:"full,omitzero"`  // when it was last asked for all pages
	Tags     []string  `json:"tags,omitempty"` // validators (ETag), a page each
	Counts   []int     `json:"counts,omitempty"`
	Cut      bool      `json:"cut,omitempty"` // there are more than are listed
}

// Release is one release.
type Release struct {
	Tag        string    `json:"tag"`
	Name       string    `json:"name,omitempty"`
	Draft      bool      `json:"draft,omitempty"`
	Prerelease bool      `json:"prerelease,omitempty"`
	Published  time.Time `json:"published"`
	Assets     []Asset   `json:"assets,omitempty"`
}

// Asset is one file of a release.
type Asset struct {
	ID      string    `json:"id"` // unique in its source; new with each upload
	Name    string    `json:"name"`
	Size    int64     `json:"size"`
	Updated time.Time `json:"updated"`
	SHA256  string    `json:"sha256,omitempty"` // if the source knows it, 64 hexadecimal digits
	URL     string    `json:"url,omitempty"`    // where anybody may fetch it
}
