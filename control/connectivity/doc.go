// Package connectivity tries every path through the network on the running nodes: it creates temporary webspaces from an
// image that is this very binary, sends probes between them, the gateway, the nodes and the outside, compares what
// came through with what should, and removes everything again.
package connectivity
