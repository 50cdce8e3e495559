package server_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/simplestreams/archive"
	"github.com/lanyard-project/lanyard/simplestreams/githubtest"
	"github.com/lanyard-project/lanyard/simplestreams/stream"
)

// What `lxc image list` of 20 images costs here, and through a proxy that keeps nothing: it lists the releases and reads every
// release's metadata and checksums each time, as the system before this one did. The work of the double of GitHub, and that
// of the client, is in both.
func BenchmarkList(b *testing.B) {
	for _, way := range []string{"lanyard", "naive"} {
		b.Run(way, func(b *testing.B) {
			s := newSite(b, siteOptions{})
			for k := range 20 {
				s.double.Publish("org/repo", image(fmt.Sprintf("i%d/v1.0.0", k), true))
			}
			url := s.http.URL
			if way == "naive" {
				n := httptest.NewServer(naive(s.double))
				defer n.Close()
				url = n.URL
			}
			list := func() {
				for _, path := range []string{stream.IndexPath, stream.ImagesPath} {
					resp, err := http.Get(url + "/org/repo/" + path)
					must(b, err)
					n, err := io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
					if err != nil || resp.StatusCode != 200 || n < 100 {
						b.Fatal(resp.Status, n, err)
					}
				}
			}
			list()
			b.ResetTimer()
			for b.Loop() {
				list()
			}
		})
	}
}

// naive keeps nothing between requests.
func naive(d *githubtest.Double) http.Handler {
	fetch := func(url string) []byte {
		resp, err := http.Get(url)
		if err != nil {
			return nil
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return body
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var releases []struct {
			Tag    string `json:"tag_name"`
			Assets []struct {
				Name string
				URL  string `json:"browser_download_url"`
			}
		}
		if err := json.Unmarshal(fetch(d.API.URL+"/repos/org/repo/releases?per_page=100"), &releases); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		images := stream.NewImages()
		var names []string
		for _, rel := range releases {
			name, v, _ := strings.Cut(rel.Tag, "/v")
			names = append(names, name+":amd64")
			if !strings.HasSuffix(r.URL.Path, stream.ImagesPath) {
				continue
			}
			var m archive.Metadata
			sums := map[string]string{}
			for _, a := range rel.Assets {
				switch {
				case a.Name == "lxd.amd64.tar.xz":
					m, _ = archive.Split(strings.NewReader(string(fetch(a.URL))))
				case strings.HasSuffix(a.Name, ".sha256"):
					sums[a.Name] = string(fetch(a.URL))
				}
			}
			images.Products[name+":amd64"] = stream.Product{Aliases: name, Arch: "amd64", OS: m.Properties["os"], Versions: map[string]stream.Version{
				m.Created.Format(time.DateOnly) + "_v" + v: {Items: map[string]stream.Item{"lxd.tar.xz": {FileType: "lxd.tar.xz", CombinedSquashFS: sums["combined.amd64.sha256"]}}}}}
		}
		var out any = images
		if strings.HasSuffix(r.URL.Path, stream.IndexPath) {
			out = stream.NewIndex(names)
		}
		_ = json.NewEncoder(w).Encode(out)
	})
}
