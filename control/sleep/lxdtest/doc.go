// Package lxdtest tests package sleep on a node of the lab: real LXD, real containers, the real daemon.
package lxdtest
