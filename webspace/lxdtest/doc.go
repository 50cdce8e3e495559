// Package lxdtest tests package webspace against a real LXD, in namespaces that hack/lab makes. Its tests need root
// and the packages that hack/install.sh names, and fail without them.
package lxdtest
