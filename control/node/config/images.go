package config

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/lanyard-project/lanyard/simplestreams"
)

// How the role images is reached.
const (
	ImagesPlain = "off"
	ImagesFile  = "file"
	ImagesACME  = "acme"
)

// Images is the simplestreams server of the role images.
type Images struct {
	Address       string        `koanf:"address" doc:"Host and port where LXD and Incus fetch images. They insist on https: with tls off there must be a proxy in front of it that has a certificate."`
	TLS           string        `koanf:"tls" doc:"off; file: a certificate from files; acme: one that is asked for by itself (the ports 443 or 80 must be reachable from outside)."`
	TLSCert       string        `koanf:"tls_cert" doc:"tls file: certificate chain (PEM). Read again when it changes."`
	TLSKey        string        `koanf:"tls_key" doc:"tls file: its key (PEM)."`
	ACMENames     []string      `koanf:"acme_names" doc:"tls acme: the names of this server."`
	ACMEEmail     string        `koanf:"acme_email" doc:"tls acme: where the authority may write to."`
	ACMEDirectory string        `koanf:"acme_directory" doc:"tls acme: URL of the authority's directory. Empty: Let's Encrypt, whose terms are thereby agreed to."`
	ACMECA        string        `koanf:"acme_ca" doc:"tls acme: file with certificates (PEM) of a private authority."`
	Metrics       string        `koanf:"metrics" doc:"Host and port of /metrics, /healthz and /readyz of this role; a loopback address. Empty: none."`
	Socket        string        `koanf:"socket" doc:"Path of a unix socket for lanyard images, which only root can use."`
	Allow         []string      `koanf:"allow" doc:"Repositories of GitHub that are served: owner/name, owner/* for all of an owner, * for everybody's, which makes this an open proxy. Empty: none."`
	Folder        string        `koanf:"folder" doc:"Folder with local images: OWNER/NAME/IMAGE/vVERSION/FILES. Its repositories go before GitHub's of the same names. Empty: none."`
	GitHub        string        `koanf:"github" doc:"URL of GitHub's REST API. GitHub Enterprise has https://HOST/api/v3."`
	TokenFile     string        `koanf:"token_file" doc:"File with a token for GitHub: 5,000 requests an hour in place of 60, and private repositories. Read at the start."`
	DownloadHosts []string      `koanf:"download_hosts" doc:"Further hosts that files of releases may be fetched from: host, host:port or *.suffix."`
	PullThrough   bool          `koanf:"pull_through" doc:"Files come through this server and its cache. Else clients are sent to GitHub for them, except for files of private repositories."`
	VerifyFirst   bool          `koanf:"verify_first" doc:"Not even the first byte of a file is sent before all of it is verified. Else bytes are sent as they come, but the last 64 KiB only of a verified file."`
	Prefetch      bool          `koanf:"prefetch" doc:"Fetch the newest version of every image before somebody asks for it (with pull_through)."`
	Cache         string        `koanf:"cache" doc:"Folder of the cache."`
	CacheSize     int           `koanf:"cache_size" doc:"Of files in the cache, GiB."`
	Versions      int           `koanf:"versions" doc:"Of each image so many versions are offered, the newest."`
	MaxImage      int           `koanf:"max_image" doc:"Largest file of an image, GiB."`
	Compute       bool          `koanf:"compute" doc:"Compute a checksum that is missing in a release, for which all of the file must be read, once. Else such an image is left out."`
	Refresh       time.Duration `koanf:"refresh" doc:"How often GitHub is asked for new releases of a repository that is in use, or named in images.allow."`
	Stale         time.Duration `koanf:"stale" doc:"While GitHub fails, what was last known is served for so long."`
}

func defaultImages() Images {
	return Images{Address: ":8443", TLS: ImagesPlain, Metrics: "127.0.0.1:9470", Socket: "/run/lanyard/images.sock", GitHub: "https://api.github.com",
		Cache: "/var/cache/lanyard/images", CacheSize: 20, Versions: 10, MaxImage: 64, Compute: true, Refresh: 5 * time.Minute, Stale: 7 * 24 * time.Hour}
}

// Check checks what the role images needs.
func (i Images) Check() error {
	for key, value := range map[string]string{"images.address": i.Address, "images.metrics": i.Metrics} {
		if host, port, err := net.SplitHostPort(value); key == "images.address" && value == "" || value != "" && (err != nil || port == "") {
			return bad(key, fmt.Sprintf("%q is no host with a port", value), "write it as 127.0.0.1:8443, or :8443 for every address")
		} else if ip := net.ParseIP(host); key == "images.metrics" && value != "" && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return bad(key, fmt.Sprintf("%q is no loopback address", host), "write it as 127.0.0.1:9470")
		}
	}
	u, err := url.Parse(i.GitHub)
	_, allowErr := simplestreams.NewAllowList(i.Allow)
	switch {
	case !slices.Contains([]string{ImagesPlain, ImagesFile, ImagesACME}, i.TLS):
		return bad("images.tls", fmt.Sprintf("%q is none of off, file, acme", i.TLS), "choose one")
	case i.TLS == ImagesFile && (i.TLSCert == "" || i.TLSKey == ""):
		return bad("images.tls", "it is file, and there is no file", "give images.tls_cert and images.tls_key")
	case i.TLS == ImagesACME && len(i.ACMENames) == 0:
		return bad("images.tls", "it is acme, and there is no name to ask a certificate for", "give images.acme_names")
	case !strings.HasPrefix(i.Socket, "/") || len(i.Socket) > 107:
		return bad("images.socket", fmt.Sprintf("%q is no absolute path of at most 107 octets", i.Socket), "leave it at /run/lanyard/images.sock")
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "":
		return bad("images.github", fmt.Sprintf("%q is no URL of an API", i.GitHub), "leave it at https://api.github.com, or write https://HOST/api/v3")
	case allowErr != nil:
		return bad("images.allow", allowErr.Error(), "write repositories as owner/name or owner/*")
	case i.Cache == "" || !strings.HasPrefix(i.Cache, "/"):
		return bad("images.cache", fmt.Sprintf("%q is no absolute path", i.Cache), "leave it at /var/cache/lanyard/images")
	case i.Folder != "" && !strings.HasPrefix(i.Folder, "/"):
		return bad("images.folder", fmt.Sprintf("%q is no absolute path", i.Folder), "write the whole path")
	case i.Prefetch && !i.PullThrough:
		return bad("images.prefetch", "without images.pull_through nothing is kept that could be fetched before", "set images.pull_through too")
	case i.Refresh < time.Second || i.Refresh > 24*time.Hour:
		return bad("images.refresh", fmt.Sprintf("%v is not between a second and a day", i.Refresh), "leave it at 5m")
	case i.Stale < 0:
		return bad("images.stale", fmt.Sprintf("%v is less than nothing", i.Stale), "leave it at 168h")
	}
	for _, s := range []struct {
		key   string
		value int
		most  int
	}{{"cache_size", i.CacheSize, 1 << 20}, {"versions", i.Versions, 1000}, {"max_image", i.MaxImage, 1 << 20}} {
		if s.value < 1 || s.value > s.most {
			return bad("images."+s.key, fmt.Sprintf("%d is not between 1 and %d", s.value, s.most), "leave it at its default")
		}
	}
	return nil
}
