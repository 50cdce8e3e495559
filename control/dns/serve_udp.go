package dns

import (
	"context"
	"encoding/binary"
	"net/netip"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// batch is how many queries are read, and answers written, with one call of the kernel.
	batch = 32
	// longestQuery is more than any honest one; what is longer is cut off by the kernel and malformed then.
	longestQuery = 2048
	// yieldEvery is how often, in nanoseconds, the reader passes through Go's scheduler. A goroutine that has not for 10 ms loses
	// its place in each system call, however short, and then wakes three other threads to get another: that trebles the time that
	// the CPU spends on an answer at 5,000 queries per second (runtime.retake, forcePreemptNS, in Go 1.26).
	yieldEvery = 4e6
)

// mmsghdr is the kernel's (recvmmsg(2)).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

// worker is what a goroutine reads and writes with. Nothing is allocated per query.
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

// serveUDP reads, answers and writes batches until ctx ends. end becomes readable then. One reader is all there is: two take
// smaller batches from each other, and need half as much CPU again for an answer. It sleeps in poll(2) and not in Go's
// network poller, from which a packet's way to a goroutine leads over several threads.
func (s *Server) serveUDP(ctx context.Context, c *udpSocket, end int) error {
	w := newWorker()
	ready := []unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLIN}, {Fd: int32(end), Events: unix.POLLIN}}
	yielded := s.now()
	for {
		if now := s.now(); now-yielded > yieldEvery {
			runtime.Gosched()
			yielded = now
		}
		n, err := w.receive(c.fd)
		if err != nil {
			return err
		}
		if n > 0 { // also what was read after the end: nobody else will answer it
			s.handleBatch(w, c, n)
		}
		if ctx.Err() != nil {
			return nil
		}
		if n > 1 { // more is likely to be there
			continue
		}
		if _, err := unix.Poll(ready, -1); err != nil && err != unix.EINTR {
			return os.NewSyscallError("poll", err)
		}
	}
}

// receive takes as many queries as there are.
func (w *worker) receive(fd int) (int, error) {
	for i := range batch {
		w.in[i].hdr.Namelen = unix.SizeofSockaddrInet4
	}
	for {
		n, _, e := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&w.in[0])), batch, unix.MSG_DONTWAIT, 0, 0)
		switch e {
		case 0:
			return int(n), nil
		case unix.EAGAIN:
			return 0, nil
		case unix.EINTR:
		default:
			return 0, os.NewSyscallError("recvmmsg", e)
		}
	}
}

func (s *Server) handleBatch(w *worker, c *udpSocket, n int) {
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
		r, e := w.send(c.fd, sent, k)
		if e == unix.EINTR {
			continue
		}
		if e != 0 || r < 1 { // the first of them was not taken: the asker repeats
			s.counts.drop(DropSend)
			r = 1
		}
		sent += r
	}
}

func (w *worker) send(fd, from, to int) (int, syscall.Errno) {
	n, _, err := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&w.out[from])), uintptr(to-from), unix.MSG_DONTWAIT, 0, 0)
	return int(n), err
}

// handle answers one message, or sees to it that it will be. nil: no answer now.
func (s *Server) handle(w *worker, c *udpSocket, i int, now int64) []byte {
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
		if err := c.send(b, to); err != nil {
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
