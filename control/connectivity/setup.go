package connectivity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/lanyard-project/lanyard/control/connectivity/probe"
	"github.com/lanyard-project/lanyard/webspace"
)

// Uids of temporary webspaces. No account has them: they are above the 2,000,000,000 or so that id mappers hand out, and
// the instances carry their purpose besides.
const (
	firstUID = 2_147_400_000
	lastUID  = 2_147_479_999
	purpose  = "connectivity-test"
)

// abandoned is the age from which a temporary webspace cannot belong to a run on another node that is still going on.
const abandoned = 15 * time.Minute

// space is a temporary webspace.
type space struct {
	letter   string // a, b, ...
	name     string // of the instance
	node     string // that it is on; "" standalone
	local    bool
	ip       netip.Addr
	external uint16 // port of its forwards, TCP and UDP, to probe.Port
	second   uint16 // another: TCP to probe.Port as well, UDP to a port where nobody listens
	leased   bool
	lxd      LXD
}

// label names it in tables: "a on n1".
func (s *space) label() string {
	if s.node == "" {
		return s.letter
	}
	return s.letter + " on " + s.node
}

func (s *space) mac() string { return webspace.MAC(s.ip).String() }

// send runs a probe in the webspace and decodes its outcome.
func send[T any](ctx context.Context, s *space, args ...string) (T, error) {
	var out T
	r, err := s.lxd.Exec(ctx, s.name, append([]string{probe.Path}, args...))
	if err != nil {
		return out, err
	}
	if err := r.Succeeded(); err != nil {
		return out, fmt.Errorf("probe %s in %s: %w", args[0], s.name, err)
	}
	if err := json.Unmarshal(r.Stdout, &out); err != nil {
		return out, fmt.Errorf("probe %s in %s said %.100q: %w", args[0], s.name, r.Stdout, err)
	}
	return out, nil
}

// setup removes what an earlier run left, imports the image and creates the webspaces: two on this node, one on each
// other that is online.
func (r *runner) setup(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	server, err := r.lxd.Server(ctx)
	if err != nil {
		return err
	}
	if server.Clustered {
		r.local = server.Name
		members, err := r.lxd.Members(ctx)
		if err != nil {
			return err
		}
		r.peers = map[string]webspace.Member{}
		for _, m := range members {
			if m.Name != r.local {
				r.peers[m.Name] = m
			}
		}
	}
	r.o.Progress("looking for what an earlier run left")
	if left := remove(ctx, r.lxd, func(i webspace.Instance) bool { return time.Since(i.Created) > abandoned }); len(left) > 0 {
		return &webspace.Problem{What: "what an earlier run left could not be removed", Cause: fmt.Sprint(left), Next: "lxc list; lxc image list", Kind: webspace.ErrExists}
	}
	list, err := r.lxd.List(ctx)
	if err != nil {
		return err
	}
	r.o.Progress("importing the test image")
	image, err := importImage(ctx, r.lxd, r.o.Binary)
	if err != nil {
		return err
	}
	r.image = image
	r.plan(list)
	return r.create(ctx)
}

// plan chooses places and external ports that nobody has.
func (r *runner) plan(list []webspace.Instance) {
	taken := map[uint16]bool{}
	for _, i := range list {
		for p := range i.Record.Ports {
			taken[p] = true
		}
		for p := range i.Record.UDPPorts {
			taken[p] = true
		}
	}
	add := func(node string) {
		s := &space{letter: string(rune('a' + len(r.spaces)%26)), node: node, local: node == r.local, lxd: r.lxd}
		if n := len(r.spaces) / 26; n > 0 {
			s.letter += strconv.Itoa(n)
		}
		for _, port := range []*uint16{&s.external, &s.second} {
			for range 1000 {
				p := r.o.External.First + uint16(rand.IntN(int(r.o.External.Last-r.o.External.First)+1))
				if !taken[p] {
					taken[p], *port = true, p
					break
				}
			}
		}
		r.spaces = append(r.spaces, s)
	}
	add(r.local)
	add(r.local)
	for _, name := range sortedNames(r.peers) {
		if r.peers[name].Online {
			add(name)
		}
	}
}

// create makes the webspaces, two at a time: LXD's work is on disks and not on the network.
func (r *runner) create(ctx context.Context) error {
	r.base = firstUID + rand.IntN(lastUID-firstUID-len(r.spaces))
	slots := make(chan struct{}, 2)
	errs := make([]error, len(r.spaces))
	var all sync.WaitGroup
	for n, s := range r.spaces {
		r.o.Progress(fmt.Sprintf("creating %d temporary webspaces", len(r.spaces)))
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			record := webspace.Record{Config: webspace.Config{HTTPPort: 80}}
			if s.external != 0 && s.second != 0 {
				record.Ports = webspace.Ports{s.external: probe.Port, s.second: probe.Port}
				record.UDPPorts = webspace.Ports{s.external: probe.Port, s.second: probe.Closed}
			}
			i, err := r.lxd.Create(ctx, webspace.CreateOptions{
				UID: r.base + n, Image: r.image, Record: record, Node: s.node, MTU: r.node.MTU, Start: true,
				Config: map[string]string{webspace.PurposeKey: purpose},
			})
			if err != nil {
				errs[n] = fmt.Errorf("%s: %w", s.label(), err)
				return
			}
			s.name, s.ip = i.Name, i.Record.Address
		})
	}
	all.Wait()
	return errors.Join(errs...)
}
