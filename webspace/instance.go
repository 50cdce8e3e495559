package webspace

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Status of an instance, as LXD names it.
type Status string

// The statuses that matter here. LXD has more, all of them passing ("Starting", "Stopping", ...).
const (
	Running Status = "Running"
	Stopped Status = "Stopped"
	Frozen  Status = "Frozen"
	Errored Status = "Error" // its member does not answer: nothing is known about it
)

// Instance is a webspace as LXD has it.
type Instance struct {
	Name          string
	UID           int
	Node          string // the cluster member that it is on; "" when LXD is not clustered
	Status        Status
	Created       time.Time
	Started       time.Time        // last; zero: never
	HostInterface string           // host side of its eth0; "" unless running, or HookNIC
	NICType       string           // of eth0, e.g. "p2p"; HookNIC; "" without an eth0
	MAC           net.HardwareAddr // of eth0, as it is or will be; nil when unknown
	MTU           int              // of eth0, bytes; 0: LXD's default
	Record        Record
	Imported      bool  // the record is the seed's, and not yet written as ours
	RecordErr     error // why Record is not to be used (a *Problem); nil when it is

	OOMSkip bool // never put to sleep because the node's memory runs short: its record, or the key `user.oomSkip`

	// HeldUntil, the key `user.lanyard.held`: a part of Lanyard, perhaps on another node, works on it
	// until then. So does its creation.
	HeldUntil time.Time

	building string // until when its creation may go on, and who is at it; "" when it is complete

	// RawLXC is what LXD passes on to LXC unread: its own key raw.lxc, or that of a profile.
	RawLXC string

	plainNIC bool   // eth0 has no other settings than those that Lanyard makes
	veth     string // the line of RawLXC by which the start hook makes eth0; "": it does not

	// Purpose of an instance that is no member's, e.g. "connectivity-test": the key `user.lanyard.purpose`.
	Purpose string
}

// OOMSkipKey of an instance's configuration is the seed system's way to spare one when memory runs short.
const OOMSkipKey = "user.oomSkip"

// HeldKey of an instance's configuration: see Instance.HeldUntil.
const HeldKey = Key + ".held"

// PurposeKey of an instance's configuration says what a temporary one is for.
const PurposeKey = Key + ".purpose"

// Active says whether the instance has processes: running, frozen, or on the way.
func (i Instance) Active() bool { return i.Status != Stopped && i.Status != Errored }

// Server is what LXD says about itself.
type Server struct {
	Name      string // of this member, or of the machine
	Clustered bool
	Version   string
	ShiftFS   bool // it uses shiftfs, a file system of Ubuntu's older kernels
}

// Member is one machine of an LXD cluster.
type Member struct {
	Name    string
	URL     string     // of its API, e.g. https://192.0.2.1:8443
	Address netip.Addr // the host of URL, when that is a literal address
	Online  bool
	Message string // LXD's words on its state
	Leader  bool   // it leads LXD's database
	Node    Node   // what its lanyardd says about itself
	NodeErr error  // why Node is not to be used; ErrNotFound when it said nothing
}

// Node is what each node tells the others about itself: JSON in the `user.lanyard` key of its cluster member.
type Node struct {
	Index    int          `json:"index"`             // n in the LAN address 172.24.0.n
	VTEP     netip.Addr   `json:"vtep"`              // where its tunnels end
	Forwards []netip.Addr `json:"forwards,omitzero"` // external addresses whose ports it forwards
}

// name of the instance of a member.
func instanceName(prefix string, uid int) string { return prefix + "u" + strconv.Itoa(uid) }

// parseName is its inverse. Only the canonical form counts, so that no two names mean the same uid.
func parseName(prefix, name string) (uid int, ok bool) {
	digits, ok := strings.CutPrefix(name, prefix+"u")
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(digits)
	if err != nil || n < 0 || n > MaxUID || strconv.Itoa(n) != digits {
		return 0, false
	}
	return n, true
}

// nic is the device through which a webspace is on the LAN. LXD puts the host side into its own network namespace and
// touches nothing further; the node agent finds it there.
func nic(mac net.HardwareAddr, mtu int) map[string]string {
	d := map[string]string{"type": "nic", "nictype": "p2p", "name": "eth0", "hwaddr": mac.String()}
	if mtu > 0 {
		d["mtu"] = strconv.Itoa(mtu)
	}
	return d
}

// wrongUser is the error of a record that belongs to another: what a copied instance carries.
func wrongUser(name string, uid int, r Record) error {
	return &Problem{
		What:  fmt.Sprintf("the record of %s cannot be used", name),
		Cause: fmt.Sprintf("it is the record of user %d, not %d; was the instance copied?", r.User, uid),
		Next:  fmt.Sprintf("lxc config unset %s %s", name, Key), Kind: ErrInvalid,
	}
}

// Equal compares what two nodes say.
func (n Node) Equal(o Node) bool {
	return n.Index == o.Index && n.VTEP == o.VTEP && slices.Equal(n.Forwards, o.Forwards)
}
