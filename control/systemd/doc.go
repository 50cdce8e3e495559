// Package systemd speaks with the service manager: it says how the daemon is, and has sockets kept while the daemon is
// replaced (sd_notify(3), sd_listen_fds(3)).
package systemd
