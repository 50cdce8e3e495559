package systemd

// Notify tells the service manager how the daemon is (sd_notify(3)), for example "READY=1". Without a manager that
// listens it does nothing.
func Notify(state string) error { return notify(state, nil) }
