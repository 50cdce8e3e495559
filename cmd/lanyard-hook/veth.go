package main

import (
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// veth is a pair of interfaces: host here, eth0 in the network namespace of a process. Both are up.
type veth struct {
	host string
	mac  [6]byte // of eth0
	mtu  int     // of both, bytes
	pid  int
}

// shape is what `ip link add` takes for such a pair; words in capitals are to be filled in.
var shape = strings.Fields("HOST mtu MTU up type veth peer name eth0 address MAC mtu MTU netns PID")

// parseVeth takes the arguments of `ip link add`, in just this order.
func parseVeth(args []string) (v veth, err error) {
	if len(args) != len(shape) {
		return veth{}, errArguments
	}
	for n, a := range args {
		switch shape[n] {
		case "HOST":
			if v.host = a; !plain(a) || len(a) > 15 || !strings.HasPrefix(a, "ly") {
				return veth{}, errArguments
			}
		case "MTU":
			mtu, err := strconv.Atoi(a)
			if err != nil || mtu < 68 || mtu > 65535 || v.mtu != 0 && v.mtu != mtu {
				return veth{}, errArguments
			}
			v.mtu = mtu
		case "MAC":
			octets := strings.Split(a, ":")
			if len(octets) != len(v.mac) {
				return veth{}, errArguments
			}
			for n, o := range octets {
				b, err := strconv.ParseUint(o, 16, 8)
				if err != nil {
					return veth{}, errArguments
				}
				v.mac[n] = byte(b)
			}
		case "PID":
			if v.pid, err = strconv.Atoi(a); err != nil || v.pid <= 1 {
				return veth{}, errArguments
			}
		case a:
		default:
			return veth{}, errArguments
		}
	}
	return v, nil
}

// makeVeth makes a pair. What carries the host's name is left by the container's last run, whose network namespace has not quite
// gone yet: it is removed. An eth0 that is there already was made by LXD, which then needs no help.
func makeVeth(args []string) error {
	v, err := parseVeth(args)
	if err != nil {
		return err
	}
	err = ask(v.create())
	if err == syscall.EEXIST {
		if err := ask(v.remove()); err != nil && err != syscall.ENODEV {
			return err
		}
		if err = ask(v.create()); err == syscall.EEXIST {
			os.Stderr.WriteString("lanyard-hook: the container has an eth0 already\n")
			return nil
		}
	}
	if err == nil {
		err = v.up()
	}
	if err != nil {
		return errors.New("the network interface " + v.host + " could not be made: " + err.Error())
	}
	return nil
}

// up sets eth0 up, as LXD does: the kernel does not while the pair is being made. It leaves this thread in the container's network
// namespace; nothing follows.
func (v veth) up() error {
	runtime.LockOSThread()
	ns, err := syscall.Open("/proc/"+strconv.Itoa(v.pid)+"/ns/net", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(ns)
	if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
		return err
	}
	return ask(request(syscall.RTM_NEWLINK, 0, ifinfo(syscall.IFF_UP), attr(syscall.IFLA_IFNAME, []byte("eth0\x00"))))
}

// Attributes of rtnetlink that syscall does not name (linux/if_link.h, linux/veth.h).
const (
	iflaNetNSPID  = 19
	iflaInfoKind  = 1
	iflaInfoData  = 2
	vethInfoPeer  = 1
	exclusive     = syscall.NLM_F_CREATE | syscall.NLM_F_EXCL
	headerLength  = 16
	ifinfoLength  = 16
	ifinfoFlagsAt = 8
)

// create is the request that makes the pair, its other end in the other network namespace from the beginning.
func (v veth) create() []byte {
	peer := join(ifinfo(0), attr(syscall.IFLA_IFNAME, []byte("eth0\x00")), attr(syscall.IFLA_ADDRESS, v.mac[:]),
		attr(syscall.IFLA_MTU, u32(v.mtu)), attr(iflaNetNSPID, u32(v.pid)))
	return request(syscall.RTM_NEWLINK, exclusive, ifinfo(syscall.IFF_UP), attr(syscall.IFLA_IFNAME, []byte(v.host+"\x00")),
		attr(syscall.IFLA_MTU, u32(v.mtu)),
		attr(syscall.IFLA_LINKINFO, join(attr(iflaInfoKind, []byte("veth")), attr(iflaInfoData, attr(vethInfoPeer, peer)))))
}

// remove is the request that removes what has the host's name.
func (v veth) remove() []byte {
	return request(syscall.RTM_DELLINK, 0, ifinfo(0), attr(syscall.IFLA_IFNAME, []byte(v.host+"\x00")))
}

// ask sends a request to the kernel, in the network namespace of this thread, and returns its answer: an errno or nil.
func ask(request []byte) error {
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, syscall.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	t := syscall.NsecToTimeval(limit.Nanoseconds())
	if err := syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &t); err != nil {
		return err
	}
	if err := syscall.Sendto(fd, request, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return err
	}
	b := make([]byte, 1<<12)
	for until := time.Now().Add(limit); ; {
		n, _, err := syscall.Recvfrom(fd, b, 0)
		switch {
		case err == syscall.EINTR && time.Now().Before(until):
		case err != nil:
			return err
		case n < headerLength+4 || binary.NativeEndian.Uint16(b[4:]) != syscall.NLMSG_ERROR:
			return errors.New("the kernel gives an answer that is none")
		default:
			if errno := int32(binary.NativeEndian.Uint32(b[headerLength:])); errno != 0 {
				return syscall.Errno(-errno)
			}
			return nil
		}
	}
}

func request(kind, flags uint16, parts ...[]byte) []byte {
	b := join(append([][]byte{make([]byte, headerLength)}, parts...)...)
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], kind)
	binary.NativeEndian.PutUint16(b[6:], flags|syscall.NLM_F_REQUEST|syscall.NLM_F_ACK)
	return b
}

// ifinfo is a struct ifinfomsg that sets flags.
func ifinfo(flags int) []byte {
	b := make([]byte, ifinfoLength)
	copy(b[ifinfoFlagsAt:], join(u32(flags), u32(flags)))
	return b
}

// attr is a struct rtattr with its value, padded.
func attr(kind uint16, value []byte) []byte {
	b := make([]byte, (4+len(value)+3)&^3)
	binary.NativeEndian.PutUint16(b, uint16(4+len(value)))
	binary.NativeEndian.PutUint16(b[2:], kind)
	copy(b[4:], value)
	return b
}

func u32(v int) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(v)) }

func join(parts ...[]byte) []byte {
	var out []byte
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}
