package github

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lanyard-project/lanyard/simplestreams"
	"github.com/lanyard-project/lanyard/simplestreams/source"
)

const (
	perPage   = 100      // GitHub's most
	maxPage   = 64 << 20 // bytes: a hundred releases with the longest notes are 13 MB
	maxAssets = 1000     // of a release; GitHub's most
)

// release is what GitHub's API has, as far as it matters here.
type release struct {
	Tag        string    `json:"tag_name"`
	Name       string    `json:"name"`
	Draft      bool      `json:"draft"`
	Prerelease bool      `json:"prerelease"`
	Created    time.Time `json:"created_at"`
	Published  time.Time `json:"published_at"`
	Assets     []asset   `json:"assets"`
}

type asset struct {
	ID      int64     `json:"id"`
	Name    string    `json:"name"`
	State   string    `json:"state"`
	Size    int64     `json:"size"`
	Digest  string    `json:"digest"` // "sha256:…", null for those uploaded before GitHub computed them
	Updated time.Time `json:"updated_at"`
	URL     string    `json:"browser_download_url"`
}

// List asks for all pages, or only for the first if that has not changed.
func (s *Source) List(ctx context.Context, r simplestreams.Repo, before *source.Listing) (*source.Listing, error) {
	what := "list the releases of " + r.String()
	if before == nil {
		before = &source.Listing{}
	}
	now := time.Now().UTC()
	out := &source.Listing{At: now, Full: now}
	offset := 0 // of the page in before
	for page := 1; ; page++ {
		tag, kept := "", []source.Release(nil)
		if page <= len(before.Tags) && page <= len(before.Counts) && offset+before.Counts[page-1] <= len(before.Releases) {
			tag, kept = before.Tags[page-1], before.Releases[offset:offset+before.Counts[page-1]]
			offset += before.Counts[page-1]
		}
		got, newTag, more, unchanged, err := s.page(ctx, what, r, page, tag)
		if err != nil {
			return nil, err
		}
		if unchanged {
			if page == 1 && now.Sub(before.Full) < s.o.FullEvery {
				same := *before
				same.At = now
				return &same, nil
			}
			got, newTag, more = kept, tag, page < len(before.Tags)
		}
		out.Releases = append(out.Releases, got...)
		out.Tags, out.Counts = append(out.Tags, newTag), append(out.Counts, len(got))
		if !more {
			break
		}
		if len(out.Releases) >= s.o.MaxReleases {
			out.Cut = true
			break
		}
	}
	return out, nil
}

// page asks for one page.
func (s *Source) page(ctx context.Context, what string, r simplestreams.Repo, page int, tag string) (list []source.Release, newTag string, more, unchanged bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	header := http.Header{"Accept": {"application/vnd.github+json"}}
	if tag != "" {
		header.Set("If-None-Match", tag)
	}
	target := s.base.String() + "/repos/" + r.Owner + "/" + r.Name + "/releases?per_page=" + strconv.Itoa(perPage) + "&page=" + strconv.Itoa(page)
	resp, err := s.do(ctx, what, target, header)
	if err != nil {
		return nil, "", false, false, err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotModified && tag != "":
		return nil, tag, false, true, nil
	case resp.StatusCode != http.StatusOK:
		return nil, "", false, false, s.answered(what, resp)
	}
	var raw []release
	body := &counted{r: io.LimitReader(resp.Body, maxPage)}
	if err := json.NewDecoder(body).Decode(&raw); err != nil {
		cause := "its answer is not what GitHub's API gives: " + err.Error()
		if body.n >= maxPage {
			cause = fmt.Sprintf("its answer is longer than %d MiB", maxPage>>20)
		}
		return nil, "", false, false, &simplestreams.Problem{What: what, Cause: cause, Next: "check images.github", Kind: simplestreams.ErrUpstream, Err: err}
	}
	if len(raw) > perPage {
		raw = raw[:perPage]
	}
	for i := range raw {
		list = append(list, raw[i].convert())
	}
	newTag = resp.Header.Get("ETag")
	if len(newTag) > 256 {
		newTag = ""
	}
	return list, newTag, len(raw) > 0 && hasNext(resp.Header), false, nil
}

var (
	digest  = regexp.MustCompile(`^sha256:([0-9a-f]{64})$`)
	relNext = regexp.MustCompile(`(?i)rel="?next"?`)
)

func hasNext(h http.Header) bool {
	return slices.ContainsFunc(h.Values("Link"), func(l string) bool { return relNext.MatchString(l) })
}

func (r *release) convert() source.Release {
	out := source.Release{Tag: r.Tag, Name: r.Name, Draft: r.Draft, Prerelease: r.Prerelease, Published: r.Published}
	if out.Published.IsZero() {
		out.Published = r.Created
	}
	for _, a := range r.Assets[:min(len(r.Assets), maxAssets)] {
		if a.State != "" && a.State != "uploaded" || a.Size < 0 {
			continue // its upload has not ended
		}
		converted := source.Asset{ID: strconv.FormatInt(a.ID, 10), Name: a.Name, Size: a.Size, Updated: a.Updated, URL: a.URL}
		if m := digest.FindStringSubmatch(strings.ToLower(a.Digest)); m != nil {
			converted.SHA256 = m[1]
		}
		out.Assets = append(out.Assets, converted)
	}
	return out
}

type counted struct {
	r io.Reader
	n int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
