package dataplane

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// writeSysctl sets a switch of one interface, in the network namespace of the caller, unless it is set already. IPv6 may
// be built out of a kernel: then there is nothing to switch off.
func writeSysctl(family, dev, key, value string) error {
	if family == "ipv6" {
		if _, err := os.Stat("/proc/sys/net/ipv6"); os.IsNotExist(err) {
			return nil
		}
	}
	path := filepath.Join("/proc/sys/net", family, "conf", dev, key)
	if now, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(now)) == value {
		return nil
	}
	if err := os.WriteFile(path, []byte(value), 0); err != nil {
		return fmt.Errorf("set net.%s.conf.%s.%s=%s: %w; /proc/sys must be writable for the daemon", family, dev, key, value, err)
	}
	return nil
}
