package images

import (
	"fmt"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lanyard-project/lanyard/simplestreams/server"
)

// Reference is docs/reference/images.md.
func Reference() string {
	var b strings.Builder
	b.WriteString(`<!-- Generated from control/images by go generate ./control/images. Do not edit. -->
# The image server

What ` + "`lanyardd --role images`" + ` answers. Its settings are in [config.md](config.md#images), its commands in [cli.md](cli.md#lanyard-images-list).

## To LXD and Incus
| path | answer |
|---|---|
| ` + "`/OWNER/NAME/streams/v1/index.json`" + ` | the index, format ` + "`index:1.0`" + ` |
| ` + "`/OWNER/NAME/streams/v1/images.json`" + ` | all images, format ` + "`products:1.0`" + ` |
| ` + "`/OWNER/NAME/images/IMAGE/ARCH/vVERSION/FILE`" + ` | a file: its bytes (ranges too), or 302 to where anybody may fetch it |
| ` + "`/OWNER/NAME/IMAGE[/vVERSION]`" + ` | 204 with ` + "`LXD-Image-Hash` and `LXD-Image-URL`" + `, for ` + "`lxc image import URL`" + ` of a unified image |
| ` + "`/health`" + ` | 204, whatever GitHub does |

Everything has HEAD and ETag. ` + "`Age`" + ` is how many seconds ago the source was last asked. Errors are problem+json:

| status | meaning |
|---|---|
| 403 | the repository is not in ` + "`images.allow`" + ` |
| 404 | there is no such repository, image or file |
| 429 | GitHub's rate limit is used up and nothing is known yet; ` + "`Retry-After`" + ` says until when |
| 502, 504 | the source failed, or did not answer in time, and nothing is known yet; or a file is not what its checksum promises |
| 503 | too much is under way |

## Names of tags and assets
A release with the tag ` + "`IMAGE/vVERSION`" + ` offers IMAGE (letters, digits, ` + "`. _ + -`" + `, and slashes). VERSION is a strict semantic version; releases
that GitHub calls prereleases are offered too, drafts are not. ARCH is Debian's name: amd64, arm64 and so on.

| asset | what it is |
|---|---|
| ` + "`lxd.ARCH.tar.xz`" + ` | metadata. Incus gets the same, unless there is ` + "`incus.ARCH.tar.xz`" + ` |
| ` + "`rootfs.ARCH.squashfs`, `rootfs.ARCH.tar.xz`" + ` | root of a container |
| ` + "`disk.ARCH.qcow2`, `disk-kvm.ARCH.img`" + ` | disk of a virtual machine |
| ` + "`image.ARCH.tar.xz`, `image.ARCH.tar.gz`" + ` | metadata and root in one (unified) |
| ` + "`combined.ARCH.sha256`" + ` | SHA-256 of metadata and root, one after the other: the fingerprint. With several roots also ` + "`combined.ARCH.tar.xz.sha256`, `combined.ARCH.qcow2.sha256`" + `. Computed if it is not there |
| ` + "`*.sha256`" + ` | of any of the above, as sha256sum writes it; not needed where GitHub gives a digest |

Clients know a version by its serial, such as ` + "`20211130_0001.0010.0000_v1.10.0`" + `: the day of ` + "`creation_date`" + ` in metadata.yaml, then the version so that
texts sort as versions do.

## To Prometheus
On ` + "`images.metrics`" + `, beside ` + "`/healthz`" + ` (the process lives) and ` + "`/readyz`" + ` (it serves; with numbers as JSON), and the metrics of the Go runtime and the process:

| metric | kind | labels | meaning |
|---|---|---|---|
`)
	m := newMetrics()
	for _, c := range append(server.New(server.Options{}).Metrics(), m.upstreams, m.refreshes, m.seconds) {
		ch := make(chan *prometheus.Desc, 1)
		c.Describe(ch)
		name, help, labels := parseDesc((<-ch).String())
		kind := "counter"
		if strings.HasSuffix(name, "_seconds") {
			kind = "histogram"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", name, kind, labels, help)
	}
	for _, g := range gauges {
		fmt.Fprintf(&b, "| `%s` | gauge |  | %s |\n", g.name, g.help)
	}
	b.WriteString("| `lanyard_build_info` | gauge | version | Always 1; the version of the daemon. |\n")
	return b.String()
}

// parseDesc takes apart what the library tells of a metric only as a text: Desc{fqName: "a", help: "b", ..., variableLabels: {c,d}}.
func parseDesc(s string) (name, help, labels string) {
	between := func(from, to string) string {
		_, rest, _ := strings.Cut(s, from)
		out, _, _ := strings.Cut(rest, to)
		return out
	}
	return between(`fqName: "`, `", help`), between(`help: "`, `", `), strings.ReplaceAll(between("variableLabels: {", "}"), ",", ", ")
}
