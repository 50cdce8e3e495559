// Package systemd speaks with the service manager: it says how the daemon is (sd_notify(3)).
package systemd
