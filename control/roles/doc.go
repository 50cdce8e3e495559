// Package roles is lanyardd: what a machine does is the sum of its roles, in one process.
//
//	node      the dataplane of a machine with webspaces (control/node)
//	control   what members and admins talk to
//	images    the image server
//
// A role is an entry of all: to add one, write its file here, which builds it from the configuration and runs it.
// Roles of one process share one store of webspaces (see Machine).
package roles
