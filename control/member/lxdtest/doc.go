// Package lxdtest tests the members' command line against the whole of the control plane on a real LXD, in namespaces that
// hack/lab makes. It needs root and the packages that hack/install.sh names; without them its tests fail.
package lxdtest
