// Package lxdtest tests the API on a real LXD: what a stand-in cannot show. It needs root and the lab's packages, and
// stands apart so that it runs alone (see Makefile).
package lxdtest
