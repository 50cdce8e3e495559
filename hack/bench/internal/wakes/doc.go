// Package wakes measures what waking costs, on a lab of one node with real LXD: beside LXD's own start of the same
// webspace, and beside a request to one that is awake.
package wakes
