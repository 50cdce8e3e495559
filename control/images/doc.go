// Package images is the role images of lanyardd: it serves images to LXD and Incus out of GitHub's releases and a local
// folder (package simplestreams), with a certificate from files, from an authority (ACME), or behind a proxy; and it answers
// the command lanyard images on a socket of its own, and Prometheus.
package images

//go:generate go run ./genref ../../docs/reference/images.md
