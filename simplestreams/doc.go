// Package simplestreams serves container and virtual machine images to LXD and Incus, out of the releases of GitHub
// repositories and out of local folders. Its parts, from the bottom up:
//
//	version   versions of images, and their order as text
//	archive   what an image says about itself (metadata.yaml)
//	source    where images come from: source/github, source/folder
//	store     the cache on disk: an index (bbolt) and files by their SHA-256
//	catalog   from releases to what clients are offered, and why something is not offered
//	stream    the two JSON documents of the protocol
//	library   one catalogue per repository: refresh in the background, single flight, stale answers
//	server    HTTP
//
// This package itself holds the words that they share: a Repo, a Problem.
package simplestreams
