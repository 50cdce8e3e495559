// Package lxdtest gives tests a real LXD, in namespaces that hack/lab makes, and tests package webspace against it. It
// needs root and the packages that hack/install.sh names; without them its tests fail.
package lxdtest
