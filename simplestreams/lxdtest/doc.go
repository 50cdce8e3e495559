// Package lxdtest tests package simplestreams with real clients: lxc and LXD, incus and Incus.
package lxdtest
