// Package folder serves images from a local folder, for sites without a way to GitHub:
//
//	ROOT/OWNER/NAME/IMAGE/vVERSION/lxd.amd64.tar.xz
//	                              /rootfs.amd64.squashfs
//
// IMAGE may have several parts (debian/12). The files are named as the assets of a release would be. Nothing outside of
// ROOT is read, wherever symbolic links lead.
package folder
