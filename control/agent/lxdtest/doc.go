// Package lxdtest tests the node agent against a real LXD cluster, without a dataplane: what it would apply is
// recorded. It needs root and the packages that hack/install.sh names; without them its tests fail.
package lxdtest
