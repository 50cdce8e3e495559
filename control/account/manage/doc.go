// Package manage lets the administrator of a machine change the accounts that are kept there.
//
// The files of accounts belong to one process at a time. The commands therefore speak to the daemon over a unix socket that
// only root can use (Serve, Client), and open the file themselves only when no daemon does.
package manage
