// Package catalog makes of a repository's releases what clients are offered.
//
// A release offers an image if its tag is IMAGE/vVERSION and its assets have these names, for one architecture or several:
//
//	lxd.ARCH.tar.xz        metadata; Incus gets the same, unless there is incus.ARCH.tar.xz
//	rootfs.ARCH.squashfs   the root of a container; or rootfs.ARCH.tar.xz
//	disk.ARCH.qcow2        the disk of a virtual machine; or disk-kvm.ARCH.img
//	image.ARCH.tar.xz      or all in one (unified); or image.ARCH.tar.gz
//	combined.ARCH.sha256   SHA-256 of metadata and root, one after the other: the image's fingerprint. With several roots,
//	                       combined.ARCH.squashfs.sha256 and so on. Computed if it is not there
//	*.sha256               of any of them, as sha256sum writes it. Not needed where GitHub gives a digest
//
// What was found out about an asset is kept by its id: each is looked at once. An image that is incomplete, broken or hostile
// is left out alone, with its reason.
package catalog
