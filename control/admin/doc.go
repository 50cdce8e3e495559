// Package admin is the command line of a node's administrator: what `lanyard` prints, and the commands that ask for
// it. The admin socket (control/node/nodeapi) is its only way to a daemon.
//
// Data goes to stdout, progress and errors to stderr. Every string that came from a webspace, LXD or the network is
// made printable before it meets a terminal.
package admin
