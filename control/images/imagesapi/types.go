package imagesapi

import "time"

// DefaultSocket is where the role images listens.
const DefaultSocket = "/run/lanyard/images.sock"

// Paths. The repository is a query parameter: ?repository=OWNER/NAME.
const (
	PathStatus   = "/v1/status"   // GET: Status
	PathImages   = "/v1/images"   // GET: Repository, of one; it may be asked for the first time
	PathVerify   = "/v1/verify"   // POST: Repository, after asking its source now
	PathPrefetch = "/v1/prefetch" // POST: a stream of Step, one a line
)

// Status of the role.
type Status struct {
	Version      string       `json:"version"`
	Repositories []Repository `json:"repositories"`
	CacheBytes   int64        `json:"cacheBytes"`
	CacheFiles   int          `json:"cacheFiles"`
	CacheMax     int64        `json:"cacheMax"`
	Limit        *Limit       `json:"limit,omitempty"` // GitHub's; absent: not known yet
}

// Limit of GitHub.
type Limit struct {
	Limit     int       `json:"limit"`
	Remaining int       `json:"remaining"`
	Reset     time.Time `json:"reset"`
}

// Repository is what is offered of one, and what not.
type Repository struct {
	Name    string    `json:"name"`
	Source  string    `json:"source,omitempty"`
	Listed  time.Time `json:"listed,omitzero"` // when its source was last asked with success
	Error   string    `json:"error,omitempty"` // of the last attempt
	Failing time.Time `json:"failing,omitzero"`
	Cut     bool      `json:"cut,omitempty"` // it has more releases than are looked at
	Images  []Image   `json:"images"`
	Skipped []Skipped `json:"skipped"`
}

// Image is one version of an image.
type Image struct {
	Name        string    `json:"name"`
	Arch        string    `json:"arch"`
	Version     string    `json:"version"`
	Serial      string    `json:"serial"`
	Fingerprint string    `json:"fingerprint"`
	Size        int64     `json:"size"`
	Created     time.Time `json:"created"`
	Newest      bool      `json:"newest"`
	Cached      bool      `json:"cached"` // all its files are in the cache
	Description string    `json:"description,omitempty"`
}

// Skipped is what is not offered.
type Skipped struct {
	Tag     string `json:"tag"`
	Image   string `json:"image,omitempty"`
	Arch    string `json:"arch,omitempty"`
	Version string `json:"version,omitempty"`
	Reason  string `json:"reason"`
	Passing bool   `json:"passing,omitempty"`
	Old     bool   `json:"old,omitempty"` // there are newer ones: nothing is wrong
}

// Step of fetching files. The last one has Done.
type Step struct {
	File  string `json:"file,omitempty"`
	Bytes int64  `json:"bytes"`
	Size  int64  `json:"size"`
	Error string `json:"error,omitempty"` // of this file
	Done  bool   `json:"done,omitempty"`
	Files int    `json:"files,omitempty"` // with Done: how many are in the cache
	Bad   int    `json:"bad,omitempty"`   // with Done: how many could not be fetched
}
