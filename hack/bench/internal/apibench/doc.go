// Package apibench measures the API with a thousand webspaces on a real LXD: what it adds to LXD's own time for a read, and
// whether hundreds of creations at once end in as many webspaces with addresses and ports of their own.
package apibench
