package check

import (
	"fmt"
	"strconv"
	"strings"
)

// minLXD is the oldest major version that is tried; tests run with 5.0.
const minLXD = 4

func lxdChecks(f Facts, want Want) []Result {
	l := &list{group: "lxd"}
	switch {
	case f.LXD.Error != "":
		// lanyardd would start, and wait for it; but a machine without LXD is no node.
		l.add(Failure, "LXD", "no answer at "+want.LXD+": "+f.LXD.Error,
			"it is not running, listens elsewhere, or refuses this user", "systemctl status lxd, lxc info, or set lxd.address in the configuration")
	case f.LXD.Version == "":
		l.add(Unknown, "LXD", "was not asked", "no address of it is known", "set lxd.address in the configuration")
	case !f.LXD.Trusted:
		l.add(Failure, "LXD", f.LXD.Version+" at "+want.LXD+" does not trust us", "the client certificate is not in its trust store",
			"lxc config trust add CERTIFICATE")
	case tooOld(f.LXD.Version):
		l.add(Failure, "LXD", f.LXD.Version, fmt.Sprintf("LXD %d.0, or Incus, is the oldest that works", minLXD), "install LXD 5.0 or Incus 6.0")
	default:
		found := f.LXD.Version + " at " + want.LXD
		if f.LXD.Clustered {
			found += ", in a cluster"
		}
		l.ok("LXD", found)
		l.ids(f, want)
	}
	return l.results
}

func tooOld(version string) bool {
	major, _, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(major)
	return err == nil && n < minLXD && n >= 2 // Incus counts from 0.1, and has all that is needed
}
