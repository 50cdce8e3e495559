// Package archive reads what an image says about itself: metadata.yaml, in the tar that LXD and Incus call the metadata
// (lxd.tar.xz, incus.tar.xz) or in a unified image. Whoever makes a release is trusted with nothing: sizes, counts, names and
// memory are bounded, and an archive that would write outside of its folder is refused.
package archive
