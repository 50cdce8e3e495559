// Package version reads the versions of images (strict Semantic Versioning 2.0.0, as the tags of releases carry them) and
// writes them so that comparing the texts byte by byte compares the versions.
//
// LXD and Incus call the name of a version its "serial". They compare serials as text, newest last, and read the first
// eight characters as the day of creation. A serial such as 20211130_v1.9.0 therefore wins over 20211130_v1.10.0: what this
// package makes in its place is 20211130_0001.0009.0000_v1.9.0.
package version
