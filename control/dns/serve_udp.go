package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// batch is how many queries are read, and answers written, with one call of the kernel.
	batch = 32
	// longestQuery is more than any honest one; what is longer is cut off by the kernel and malformed then.
	longestQuery = 2048
)

// mmsghdr is the kernel's (recvmmsg(2)).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

// worker is what one goroutine reads and writes with. Nothing is allocated per query.
type worker struct {
	in, out  [batch]mmsghdr
	inVec    [batch]unix.Iovec
	outVec   [batch]unix.Iovec
	from     [batch]unix.RawSockaddrInet4
	messages [batch][longestQuery]byte
	answers  [batch][safeUDP]byte
	q        query
}

func newWorker() *worker {
	w := &worker{}
	for i := range batch {
		w.inVec[i].Base = &w.messages[i][0]
		w.inVec[i].SetLen(longestQuery)
		w.in[i].hdr.Iov = &w.inVec[i]
		w.in[i].hdr.SetIovlen(1)
		w.in[i].hdr.Name = (*byte)(unsafe.Pointer(&w.from[i]))
		w.out[i].hdr.Iov = &w.outVec[i]
		w.out[i].hdr.SetIovlen(1)
		w.out[i].hdr.Namelen = unix.SizeofSockaddrInet4
	}
	return w
}

// serveUDP reads, answers and writes batches until ctx ends.
func (s *Server) serveUDP(ctx context.Context, c *net.UDPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	w := newWorker()
	for {
		n, err := w.receive(raw)
		switch {
		case ctx.Err() != nil:
			// What was just read is still answered: nobody else will.
		case errors.Is(err, os.ErrDeadlineExceeded):
			return errClosed
		case err != nil:
			return err
		}
		if n > 0 {
			s.handleBatch(w, raw, c, n)
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}

// receive waits for queries, and takes as many as there are.
func (w *worker) receive(raw syscall.RawConn) (n int, err error) {
	for i := range batch {
		w.in[i].hdr.Namelen = unix.SizeofSockaddrInet4
	}
	wait := raw.Read(func(fd uintptr) bool {
		for {
			r, _, e := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&w.in[0])), batch, unix.MSG_DONTWAIT, 0, 0)
			switch e {
			case 0:
				n = int(r)
				return true
			case unix.EAGAIN:
				return false
			case unix.EINTR:
			default:
				err = os.NewSyscallError("recvmmsg", e)
				return true
			}
		}
	})
	return n, errors.Join(wait, err)
}

func (s *Server) handleBatch(w *worker, raw syscall.RawConn, c *net.UDPConn, n int) {
	now := s.now()
	k := 0
	for i := range n {
		answer := s.handle(w, c, i, now)
		if answer == nil {
			continue
		}
		w.outVec[k].Base = &answer[0]
		w.outVec[k].SetLen(len(answer))
		w.out[k].hdr.Name = (*byte)(unsafe.Pointer(&w.from[i]))
		k++
	}
	for sent := 0; sent < k; {
		r, e := w.send(raw, sent, k)
		if e == unix.EINTR {
			continue
		}
		if e != 0 { // the first of them was not taken: the asker repeats
			s.counts.drop(DropSend)
			r = 1
		}
		sent += r
	}
}

func (w *worker) send(raw syscall.RawConn, from, to int) (n int, err syscall.Errno) {
	_ = raw.Control(func(fd uintptr) {
		r, _, e := unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&w.out[from])), uintptr(to-from), unix.MSG_DONTWAIT, 0, 0)
		n, err = int(r), e
	})
	if n <= 0 && err == 0 {
		err = unix.EBADF
	}
	return n, err
}

// handle answers one message, or sees to it that it will be. nil: no answer now.
func (s *Server) handle(w *worker, c *net.UDPConn, i int, now int64) []byte {
	from := &w.from[i]
	asker, ok := s.allowed(binary.BigEndian.Uint32(from.Addr[:]))
	if !ok {
		s.counts.drop(DropNotLAN)
		return nil
	}
	if !s.limits.rate(asker, now) {
		s.counts.drop(DropRate)
		return nil
	}
	q := &w.q
	msg := w.messages[i][:w.in[i].n]
	out := w.answers[i][:]
	verdict, code := q.parse(msg)
	if verdict == ignore {
		s.counts.drop(DropNoQuery)
		return nil
	}
	if verdict == refuse {
		return s.refused(q, asker, out, msg, code, q.limit())
	}
	s.counts.asked(q.qtype)
	if answer, src, code := s.local(out, msg, q, q.limit(), now); answer != nil {
		s.counts.answer(src, code)
		s.logQuery(q, asker, src, code)
		return answer
	}
	port := (*[2]byte)(unsafe.Pointer(&from.Port)) // in network order
	to := netip.AddrPortFrom(netip.AddrFrom4(from.Addr), binary.BigEndian.Uint16(port[:]))
	if !s.ask(msg, q, q.limit(), asker, now, func(b []byte) {
		if b == nil {
			return
		}
		if _, err := c.WriteToUDPAddrPort(b, to); err != nil {
			s.counts.drop(DropSend)
		}
	}) {
		return s.busy(q, asker, out, msg, q.limit())
	}
	return nil
}

// refused answers what is no good question.
func (s *Server) refused(q *query, w who, out, msg []byte, code rcode, limit int) []byte {
	s.counts.answer(fromProtocol, code)
	s.logQuery(q, w, fromProtocol, code)
	return q.write(out, msg, &body{code: code}, limit)
}

// busy answers that too many questions are open.
func (s *Server) busy(q *query, w who, out, msg []byte, limit int) []byte {
	s.counts.shared.Add(1)
	s.counts.answer(fromProtocol, rcodeFailure)
	s.logQuery(q, w, fromProtocol, rcodeFailure)
	return q.write(out, msg, &body{code: rcodeFailure}, limit)
}

// meminfo reads how many datagrams the kernel has dropped at a socket (SO_MEMINFO, include/uapi/linux/sock_diag.h).
func meminfo(fd int) (uint32, error) {
	const soMeminfo, drops = 55, 8
	var info [9]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, soMeminfo, uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if e != 0 {
		return 0, os.NewSyscallError("getsockopt", e)
	}
	return info[drops], nil
}
