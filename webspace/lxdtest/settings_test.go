package lxdtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lanyard-project/lanyard/hack/lab"
	"github.com/lanyard-project/lanyard/webspace"
)

func ptr[T any](v T) *T { return &v }

// settings edits one webspace through two services, as two processes would: only LXD's ETag keeps them apart.
func settings(t *testing.T, s *webspace.Service, n *lab.Node) {
	const uid = 320
	ctx := t.Context()
	create(t, s, webspace.CreateSpec{UID: uid})
	other := service(t, Socket(n), nil)
	var g errgroup.Group
	for k := range 50 {
		s := []*webspace.Service{s, other}[k%2]
		switch {
		case k < 20:
			g.Go(func() error { return second(s.AddPort(ctx, uid, webspace.TCP, 60000+k, 80)) })
		case k < 30:
			g.Go(func() error { return second(s.AddPort(ctx, uid, webspace.UDP, 60000+k, 53)) })
		case k < 35:
			g.Go(func() error { return second(s.AddPort(ctx, uid, webspace.TCP, 0, 1000+k)) })
		case k < 47:
			g.Go(func() error { return s.AddDomain(ctx, uid, fmt.Sprintf("d%d.u%d.example", k, uid)) })
		case k == 47:
			g.Go(func() error { return patch(s, uid, webspace.ConfigPatch{HTTPPort: ptr(8080)}) })
		case k == 48:
			g.Go(func() error { return patch(s, uid, webspace.ConfigPatch{StartupDelay: ptr(7.5)}) })
		default:
			g.Go(func() error { return patch(s, uid, webspace.ConfigPatch{SNIPassthrough: ptr(true)}) })
		}
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	i, err := s.Get(ctx, uid)
	if err != nil {
		t.Fatal(err)
	}
	r := i.Record
	if len(r.Ports) != 25 || len(r.UDPPorts) != 10 || len(r.Domains) != 12 || r.Config.HTTPPort != 8080 || r.Config.StartupDelay != 7.5 || !r.Config.SNIPassthrough {
		t.Errorf("not all of 50 edits are there: %+v", r)
	}
	var random []uint16
	for internal := range maps.Values(r.Ports) {
		if internal >= 1000 {
			random = append(random, internal)
		}
	}
	if slices.Sort(random); !slices.Equal(random, []uint16{1030, 1031, 1032, 1033, 1034}) {
		t.Errorf("random ports lead to %v", random)
	}
	policies(t, s, uid)
	errs := func(want error, got ...error) {
		t.Helper()
		for k, err := range got {
			if !errors.Is(err, want) {
				t.Errorf("%d: %v, want %v", k, err, want)
			}
		}
	}
	const second320 = 321
	create(t, s, webspace.CreateSpec{UID: second320})
	errs(webspace.ErrUsed, second(s.AddPort(ctx, uid, webspace.TCP, 60000, 1)), second(other.AddPort(ctx, second320, webspace.TCP, 60000, 1)),
		other.AddDomain(ctx, uid, "D36.u320.example."))
	errs(webspace.ErrBadPort, second(s.AddPort(ctx, uid, webspace.TCP, 49151, 1)), second(s.AddPort(ctx, uid, webspace.TCP, 65536, 1)),
		second(s.AddPort(ctx, uid, webspace.TCP, 0, 0)), second(s.AddPort(ctx, uid, webspace.TCP, -1, 1)), second(s.AddPort(ctx, uid, "sctp", 0, 1)),
		s.RemovePort(ctx, uid, webspace.TCP, 70000))
	errs(webspace.ErrUnverified, s.AddDomain(ctx, uid, "u321.example"), s.AddDomain(ctx, uid, "nobody.example.org"), s.AddDomain(ctx, uid, "a.webspaces.example"))
	errs(webspace.ErrInvalid, s.AddDomain(ctx, uid, "nodots"), s.AddDomain(ctx, uid, "192.0.2.1"), s.AddDomain(ctx, uid, "a b.example"), s.AddDomain(ctx, uid, "-a.example"))
	errs(webspace.ErrDefaultDomain, s.RemoveDomain(ctx, uid, "Alice", "ALICE.webspaces.example"))
	errs(webspace.ErrNotFound, s.RemoveDomain(ctx, uid, "alice", "x.example"), s.RemovePort(ctx, uid, webspace.TCP, 60020))
	errs(webspace.ErrBadValue, patch(s, uid, webspace.ConfigPatch{HTTPPort: ptr(0)}), patch(s, uid, webspace.ConfigPatch{HTTPPort: ptr(65536)}),
		patch(s, uid, webspace.ConfigPatch{StartupDelay: ptr(61.0)}), patch(s, uid, webspace.ConfigPatch{StartupDelay: ptr(-1.0)}),
		patch(s, uid, webspace.ConfigPatch{WakePolicy: ptr(webspace.Policy("x"))}), patch(s, uid, webspace.ConfigPatch{NapAfter: ptr(-time.Second)}))
	errs(nil, s.RemovePort(ctx, uid, webspace.UDP, 60020), s.RemoveDomain(ctx, uid, "alice", "D35.U320.example"),
		second(other.AddPort(ctx, second320, webspace.UDP, 60020, 1)), s.AddDomain(ctx, uid, "bücher.u320.example"))
	if i, err = s.Get(ctx, uid); err != nil || !slices.Contains(i.Record.Domains, "xn--bcher-kva.u320.example") {
		t.Errorf("%v, %v", i.Record.Domains, err)
	}
	// What a deleted webspace had is free again.
	errs(nil, s.Delete(ctx, uid), second(s.AddPort(ctx, second320, webspace.TCP, 60000, 1)))
}

func patch(s *webspace.Service, uid int, p webspace.ConfigPatch) error {
	_, _, err := s.PatchConfig(context.Background(), uid, p)
	return err
}

func policies(t *testing.T, s *webspace.Service, uid int) {
	ctx := t.Context()
	f := webspace.Forward{Proto: webspace.TCP, Port: 60001}
	before, after, err := s.PatchConfig(ctx, uid, webspace.ConfigPatch{
		WakePolicy: ptr(webspace.WakeVerified), WakeRules: map[webspace.Forward]*webspace.WakeRule{f: {Policy: webspace.WakeAllowlist, Allow: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}},
		NapAfter: ptr(5 * time.Minute), OOMSkip: ptr(true),
	})
	if err != nil || !before.Wake.IsZero() || after.Wake.Rule(f).Policy != webspace.WakeAllowlist || after.Idle.NapAfter != 5*time.Minute {
		t.Errorf("%+v, %+v, %v", before, after, err)
	}
	i, err := s.Get(ctx, uid)
	if err != nil || !i.OOMSkip || i.Record.Config.Wake.Rule(webspace.Forward{Proto: webspace.TCP, Port: 60002}).Policy != webspace.WakeVerified {
		t.Errorf("%+v, %v", i, err)
	}
	if err := s.RemovePort(ctx, uid, webspace.TCP, 60001); err != nil {
		t.Error(err)
	}
	if i, err = s.Get(ctx, uid); err != nil || len(i.Record.Config.Wake.Forwards) != 0 {
		t.Errorf("a rule outlives its forward: %+v, %v", i.Record.Config, err)
	}
	if err := patch(s, uid, webspace.ConfigPatch{WakeRules: map[webspace.Forward]*webspace.WakeRule{f: {}}}); !errors.Is(err, webspace.ErrBadValue) {
		t.Errorf("a rule for no forward: %v", err)
	}
}
