package dataplane

import (
	"fmt"

	"github.com/vishvananda/netlink"
)

// minLANMTU is what IPv6 asks of a link (RFC 8200 section 5).
const minLANMTU = 1280

// uplinks are the interfaces that are not ours, as they are now.
type uplinks struct {
	underlay, uplink netlink.Link
}

func findUplinks(h *netlink.Handle, c *Config) (u uplinks, err error) {
	if u.underlay, err = h.LinkByName(c.Underlay); err != nil {
		return u, fmt.Errorf("look for the underlay %s: %w; name an interface that exists (ip link)", c.Underlay, err)
	}
	if u.uplink, err = h.LinkByName(c.Uplink); err != nil {
		return u, fmt.Errorf("look for the uplink %s: %w; name an interface that exists (ip link)", c.Uplink, err)
	}
	return u, nil
}

// lanMTU is the configured one, or what the tunnel leaves of the underlay's.
func lanMTU(c *Config, u uplinks) (int, error) {
	outer := u.underlay.Attrs().MTU
	if c.MTU == 0 {
		mtu := min(outer, 65535) - tunnelOverhead
		if mtu < minLANMTU {
			return 0, fmt.Errorf("the underlay %s has MTU %d, which leaves the LAN %d: less than %d breaks IPv6; raise it (ip link set %s mtu 1500), or set the LAN's MTU",
				c.Underlay, outer, mtu, minLANMTU, c.Underlay)
		}
		return mtu, nil
	}
	return c.MTU, nil
}

// MTU of the LAN in bytes, as it is now: what webspaces should use.
func (d *Dataplane) MTU() int { return int(d.mtu.Load()) }

// reviewMTU follows the underlay. The programs have the MTU as a constant, so they are loaded anew, and put in place
// without a gap.
func (d *Dataplane) reviewMTU() error {
	u, err := findUplinks(d.nl, &d.cfg)
	if err != nil {
		return err
	}
	mtu, err := lanMTU(&d.cfg, u)
	if err != nil {
		return err
	}
	if mtu == d.MTU() && u.uplink.Attrs().MTU == d.env.uplinkMTU {
		return nil
	}
	d.log.Info("the MTU has changed", "lan", mtu, "was", d.MTU(), "uplink", u.uplink.Attrs().MTU)
	if err := d.dev.setMTU(mtu); err != nil {
		return err
	}
	env := d.env
	env.lanMTU, env.uplinkMTU = mtu, u.uplink.Attrs().MTU
	if err := d.installPrograms(env); err != nil {
		return err
	}
	d.mtu.Store(int32(mtu))
	return nil
}
