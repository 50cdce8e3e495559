// Package peering is how the nodes of an LXD cluster ask each other about their webspaces: a part of nodeapi, over HTTPS
// between their addresses on the underlay.
//
// Who is a node is decided by the cluster's own certificate, whose key LXD gives to every member and keeps to root
// (cluster.crt and cluster.key in its folder): both sides show it, and both compare it byte for byte. So there is no
// secret but LXD's, and none to hand out.
package peering
