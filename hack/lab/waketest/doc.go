// Package waketest wakes webspaces on a lab of two nodes with real LXD.
package waketest
