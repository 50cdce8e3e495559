package dataplane

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	tapFlags = unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR
	// tapQueue is how many frames wait for the reader: a burst of every webspace that is asleep at once.
	tapQueue = 4096
	// vnetHeader is the length of struct virtio_net_hdr in front of each frame. Without TUNSETOFFLOAD it is always zero: the kernel
	// completes checksums, and cuts up superframes, before it hands a frame over.
	vnetHeader = 10
)

// tap is the device behind Parking: programs redirect frames out of it to us, and what we write comes in by it. It outlives
// the daemon, so that the programs' constant stays true; without a daemon what is parked is dropped.
type tap struct {
	mu    sync.Mutex
	index int
	file  *os.File
}

// open finds or creates the device, and attaches to it unless that is done.
func (t *tap) open(h *netlink.Handle, name string, mtu int) (ifindex int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	found, err := h.LinkByName(name)
	switch {
	case err == nil && found.Type() != "tuntap":
		return 0, fmt.Errorf("it is a %s, not a TAP: it is not ours; rename it, or choose another name for ours", found.Type())
	case err == nil && t.file != nil && found.Attrs().Index == t.index:
		return t.index, t.shape(h, found, mtu)
	case err != nil && !notFound(err):
		return 0, fmt.Errorf("look for it: %w", err)
	}
	if t.file != nil { // of a device that somebody removed
		t.file.Close()
		t.file = nil
	}
	file, err := attachTAP(name)
	if err != nil {
		return 0, err
	}
	link, err := h.LinkByName(name)
	if err == nil {
		err = t.shape(h, link, mtu)
	}
	if err != nil {
		file.Close()
		return 0, err
	}
	t.file, t.index = file, link.Attrs().Index
	return t.index, nil
}

func attachTAP(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the kernel has no TAP devices (/dev/net/tun): %w; modprobe tun", err)
	}
	if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	req, err := unix.NewIfreq(name)
	if err == nil {
		req.SetUint16(tapFlags)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err == nil {
		err = unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 1)
	}
	if err != nil {
		unix.Close(fd)
		if errors.Is(err, unix.EBUSY) {
			return nil, fmt.Errorf("another process uses it: %w; stop that one (ip -d link show %s names no process: fuser /dev/net/tun does)", err, name)
		}
		return nil, fmt.Errorf("attach to it: %w", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// shape makes it quiet (it speaks no IP of its own) and brings it up.
func (t *tap) shape(h *netlink.Handle, link netlink.Link, mtu int) error {
	a := link.Attrs()
	if err := writeSysctl("ipv6", a.Name, "disable_ipv6", "1"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if a.TxQLen != tapQueue {
		if err := h.LinkSetTxQLen(link, tapQueue); err != nil {
			return fmt.Errorf("set its queue: %w", err)
		}
	}
	if a.MTU != mtu {
		if err := h.LinkSetMTU(link, mtu); err != nil {
			return fmt.Errorf("set its MTU: %w", err)
		}
	}
	if a.RawFlags&unix.IFF_UP == 0 {
		if err := h.LinkSetUp(link); err != nil {
			return fmt.Errorf("bring it up: %w", err)
		}
	}
	return nil
}

// current is the file of the device as it is now.
func (t *tap) current() *os.File {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.file
}

func (t *tap) close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.file == nil {
		return nil
	}
	file := t.file
	t.file = nil
	return file.Close()
}
