package packettest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/safchain/ethtool"
	"golang.org/x/sys/unix"
)

// BPF_PROG_TEST_RUN cannot show everything: the kernel takes VLAN tags out of frames before tcx sees them, superframes
// need a type of GSO that a test run cannot set, and where a redirect ends only a wire tells. Here the programs are
// attached, and frames sent and caught at the far ends.

// Attach attaches a program to the ingress of a device (or egress, for "node") until the World closes.
func (w *World) Attach(program, device string) error {
	at := ebpf.AttachTCXIngress
	if program == "node" {
		at = ebpf.AttachTCXEgress
	}
	return w.ns.Do(func() error {
		l, err := link.AttachTCX(link.TCXOptions{Interface: w.Ifindex[device], Program: w.progs[program], Attach: at})
		if err != nil {
			return fmt.Errorf("attaching %s to %s: %w", program, device, err)
		}
		w.links = append(w.links, l)
		return nil
	})
}

// Plain makes a device cut superframes up and finish checksums in software, as on the way to a simple network card.
func (w *World) Plain(device string) error {
	return w.ns.Do(func() error {
		e, err := ethtool.NewEthtool()
		if err != nil {
			return err
		}
		defer e.Close()
		return e.Change(device, map[string]bool{"tx-checksum-ip-generic": false, "tx-scatter-gather": false, "tx-generic-segmentation": false})
	})
}

// Tap is the far end of a device.
type Tap struct{ fd int }

// Offload is what travels beside a frame: how to cut it up, and that its checksum is still to be made.
// (struct virtio_net_hdr of linux/virtio_net.h.)
type Offload struct {
	Flags, GSOType                          uint8
	HeaderLen, GSOSize, SumStart, SumOffset uint16
}

// TCP4 is the offload of a TCP superframe over IPv4 without options, beginning at the Ethernet header.
func TCP4(segment, tcpHeader uint16) Offload {
	return Offload{Flags: 1, GSOType: 1, HeaderLen: AtL4 + tcpHeader, GSOSize: segment, SumStart: AtL4, SumOffset: 16}
}

// Tap opens the far end of a device.
func (w *World) Tap(device string) (*Tap, error) {
	t := &Tap{-1}
	err := w.outside.Do(func() (err error) {
		all := int(binary.BigEndian.Uint16([]byte{byte(unix.ETH_P_ALL & 0xff), byte(unix.ETH_P_ALL >> 8)}))
		if t.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, all); err != nil {
			return err
		}
		return errors.Join(
			unix.SetsockoptInt(t.fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1),
			unix.SetsockoptInt(t.fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
			unix.Bind(t.fd, &unix.SockaddrLinklayer{Protocol: uint16(all), Ifindex: w.farEnds[device]}))
	})
	return t, err
}

// Close closes it.
func (t *Tap) Close() { _ = unix.Close(t.fd) }

// Send sends a frame from the far end into the device.
func (t *Tap) Send(frame []byte, o Offload) error {
	b, err := binary.Append(nil, binary.LittleEndian, o)
	if err != nil {
		return err
	}
	_, err = unix.Write(t.fd, append(b, frame...))
	return err
}

// Receive gives the next frame that came out of the device, waiting at most a limit; nil when none did.
func (t *Tap) Receive(limit time.Duration) ([]byte, Offload, error) {
	tv := unix.NsecToTimeval(limit.Nanoseconds())
	if err := unix.SetsockoptTimeval(t.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		return nil, Offload{}, err
	}
	buf := make([]byte, 1<<17)
	for {
		n, err := unix.Read(t.fd, buf)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return nil, Offload{}, nil
		case err != nil:
			return nil, Offload{}, err
		}
		var o Offload
		size := binary.Size(o)
		if n < size {
			return nil, o, fmt.Errorf("read %d bytes of a packet socket", n)
		}
		_, err = binary.Decode(buf, binary.LittleEndian, &o)
		return append([]byte(nil), buf[size:n]...), o, err
	}
}

// Finish makes the checksum that an offload left to be made.
func Finish(frame []byte, o Offload) []byte {
	if o.Flags&1 == 0 || int(o.SumStart)+int(o.SumOffset)+2 > len(frame) {
		return frame
	}
	return Set16(frame, int(o.SumStart+o.SumOffset), ^sum(0, frame[o.SumStart:]))
}

// Partial puts the sum of the pseudo header where a TCP checksum goes, as the kernel does for an offload.
func Partial(frame []byte) []byte {
	length := uint32(len(frame) - AtL4)
	return Set16(frame, AtL4+16, sum(6+length, frame[AtIPSrc:AtL4]))
}
