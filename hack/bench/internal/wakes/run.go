package wakes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lanyard-project/lanyard/control/starthook"
	"github.com/lanyard-project/lanyard/hack/lab"
)

// Options of a run.
type Options struct {
	Rounds int            // of each case
	Many   int            // webspaces that are woken at once
	Debian bool           // measure the image with systemd too
	Only   *regexp.Regexp // parts whose names match: tiny, udp, nap, many, start hook, veth hook, both hooks, not expedited, debian; nil: all
	Out    string         // folder for the results; "": none
	Log    *slog.Logger
}

// Run measures everything, prints it as it comes, and writes it.
func Run(ctx context.Context, o Options) (err error) {
	w, err := newWorld(ctx, o.Log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	r := &results{began: time.Now(), rounds: o.Rounds, many: o.Many}
	for _, part := range []struct {
		name string
		run  func() error
	}{
		{"tiny", func() error { return w.image(ctx, r, "tiny", lab.Tiny, o.Rounds) }},
		{"udp", func() error { return w.udp(ctx, r, o.Rounds) }},
		{"nap", func() error { return w.nap(ctx, r, 4*o.Rounds) }},
		{"many", func() error { return w.many(ctx, r, o.Many) }},
		{"start hook", func() error { return w.shortened(ctx, r, "tiny", lab.Tiny, startHook, o.Rounds) }},
		{"veth hook", func() error { return w.shortened(ctx, r, "tiny", lab.Tiny, vethHook, o.Rounds) }},
		{"both hooks", func() error { return w.shortened(ctx, r, "tiny", lab.Tiny, bothHooks, o.Rounds) }},
		{"not expedited", func() error { return w.shortened(ctx, r, "tiny", lab.Tiny, ordinary, o.Rounds) }},
		{"debian", func() error { return w.debian(ctx, r, o.Rounds) }},
	} {
		if part.name == "debian" && !o.Debian || o.Only != nil && !o.Only.MatchString(part.name) {
			continue
		}
		if err := part.run(); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return r.write(o.Out)
}

// image compares LXD's own start of a webspace with its whole wake.
func (w *world) image(ctx context.Context, r *results, name, image string, rounds int) error {
	s, to, err := w.add(ctx, image)
	if err != nil {
		return err
	}
	if image == lab.Debian {
		if err := w.server(ctx, s); err != nil {
			return err
		}
	}
	if err := w.cold(ctx, r, name, s, s, to, image != lab.Debian, rounds); err != nil {
		return err
	}
	return w.store.Delete(ctx, s.Name)
}

// The start shorteners, each alone and together.
var (
	startHook = shortener{"start hook", "start_hook: true"}
	vethHook  = shortener{"veth hook", "veth_hook: true"}
	bothHooks = shortener{"both hooks", "start_hook: true, veth_hook: true"}
	ordinary  = shortener{"not expedited", "expedite: false"} // which is on by default
)

type shortener struct{ name, options string }

// shortened compares LXD's own start of a webspace with the whole wake of another that is started sooner.
func (w *world) shortened(ctx context.Context, r *results, name, image string, h shortener, rounds int) error {
	plain, _, err := w.add(ctx, image)
	if err != nil {
		return err
	}
	// Whatever else is in this key is the admin's: it keeps LXD's own hook.
	if _, err := w.node.LXC(ctx, "config", "set", plain.Name, "raw.lxc", "# nothing of ours"); err != nil {
		return err
	}
	hooked, to, err := w.add(ctx, image)
	if err != nil {
		return err
	}
	if err := w.node.Reconfigure(ctx, strings.Replace(config, "}", ", "+h.options+"}", 1)); err != nil {
		return err
	}
	if image == lab.Debian {
		if err := errors.Join(w.server(ctx, plain), w.server(ctx, hooked)); err != nil {
			return err
		}
	}
	err = lab.Eventually(ctx, patience, func() error {
		out, err := w.node.LXC(ctx, "config", "get", hooked.Name, "raw.lxc")
		if err == nil && strings.Contains(h.options, "hook") && !strings.Contains(out, starthook.Program) {
			err = fmt.Errorf("%s has no start hook: %q", hooked.Name, out)
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := w.cold(ctx, r, name+", "+h.name, plain, hooked, to, image != lab.Debian, rounds); err != nil {
		return err
	}
	if err := w.node.Reconfigure(ctx, config); err != nil {
		return err
	}
	return errors.Join(w.store.Delete(ctx, plain.Name), w.store.Delete(ctx, hooked.Name))
}

// cold compares LXD's own start of a webspace with a whole wake of one, which may be another, turn by turn.
func (w *world) cold(ctx context.Context, r *results, name string, other, s *lab.Webspace, to string, speaks bool, rounds int) error {
	var own, whole, ready, late []time.Duration
	steps := make(map[string][]time.Duration)
	for n := range rounds + 1 { // the first start of an image shifts ids, and warms caches
		start, up, err := w.started(ctx, other)
		if err != nil {
			return err
		}
		if err := w.stop(ctx, other); err != nil {
			return err
		}
		began, first, accepted, err := w.woken(ctx, s, to, speaks)
		if err != nil {
			return err
		}
		if err := w.is(ctx, s, "awake"); err != nil {
			return err
		}
		after, err := w.steps(ctx, s)
		if err != nil {
			return err
		}
		if err := w.stop(ctx, s); err != nil {
			return err
		}
		if n == 0 {
			continue
		}
		own = append(own, up.since(start))
		whole = append(whole, first.since(began))
		ready = append(ready, accepted.since(began))
		late = append(late, first.since(accepted))
		for step, took := range after {
			steps[step] = append(steps[step], took)
		}
	}
	r.add(name+": LXD's own start, until the port accepts", own)
	r.add(name+": whole wake, until the first byte outside", whole)
	r.add(name+": whole wake, until the port accepts", ready)
	r.add(name+": first byte outside, after the port accepted", late)
	for _, step := range []string{"decided", "carrier", "started", "lease", "open", "delivered"} {
		if len(steps[step]) > 0 {
			r.add(name+": of the wake, until "+step, steps[step])
		}
	}
	return nil
}

// started has LXD start a webspace, and says when it was asked and since when the port accepts.
func (w *world) started(ctx context.Context, s *lab.Webspace) (began, up stamp, err error) {
	var g errgroup.Group
	g.Go(func() (err error) { up, err = w.accepts(ctx, s); return err })
	g.Go(func() error { began = now(); return w.store.Start(ctx, s.Name) })
	err = g.Wait()
	return began, up, err
}

// woken has a packet wake a webspace, and says when it was sent, when the first byte came, and since when the port accepts.
func (w *world) woken(ctx context.Context, s *lab.Webspace, to string, speaks bool) (began, first, up stamp, err error) {
	var g errgroup.Group
	g.Go(func() (err error) { up, err = w.accepts(ctx, s); return err })
	g.Go(func() (err error) { began, first, err = w.ask(to, speaks); return err })
	err = g.Wait()
	return began, first, up, err
}

func (w *world) udp(ctx context.Context, r *results, rounds int) error {
	s, to, err := w.add(ctx, lab.Tiny)
	if err != nil {
		return err
	}
	var whole []time.Duration
	for range rounds {
		took, err := w.datagram(to)
		if err != nil {
			return err
		}
		whole = append(whole, took)
		if err := w.stop(ctx, s); err != nil {
			return err
		}
	}
	r.add("tiny: whole wake by a datagram, until its answer", whole)
	return w.store.Delete(ctx, s.Name)
}

// nap compares the first request to a frozen webspace with one that is warm.
func (w *world) nap(ctx context.Context, r *results, rounds int) error {
	s, to, err := w.add(ctx, lab.Tiny)
	if err != nil {
		return err
	}
	if _, err := w.request(to, true); err != nil {
		return err
	}
	var warm, first []time.Duration
	for range rounds {
		if err := w.is(ctx, s, "awake"); err != nil {
			return err
		}
		took, err := w.request(to, true)
		if err != nil {
			return err
		}
		warm = append(warm, took)
		if err := w.store.Freeze(ctx, s.Name); err != nil {
			return err
		}
		if err := w.is(ctx, s, "napping"); err != nil {
			return err
		}
		if took, err = w.request(to, true); err != nil {
			return err
		}
		first = append(first, took)
	}
	r.add("tiny: first byte, warm", warm)
	r.add("tiny: first byte, napping", first)
	return w.store.Delete(ctx, s.Name)
}

// many wakes many at once, while another webspace is asked all the time; then LXD alone starts them all at once.
func (w *world) many(ctx context.Context, r *results, count int) error {
	other, at, err := w.add(ctx, lab.Tiny)
	if err != nil {
		return err
	}
	if _, err := w.request(at, true); err != nil {
		return err
	}
	var all []*lab.Webspace
	var to []string
	for range count {
		s, external, err := w.add(ctx, lab.Tiny)
		if err != nil {
			return err
		}
		all, to = append(all, s), append(to, external)
	}
	calm, err := w.meanwhile(at, func() error { time.Sleep(3 * time.Second); return nil })
	if err != nil {
		return err
	}
	took := make([]time.Duration, count)
	woken, err := w.meanwhile(at, func() error {
		var clients errgroup.Group
		for n := range count {
			clients.Go(func() (err error) { took[n], err = w.request(to[n], true); return err })
		}
		return clients.Wait()
	})
	if err != nil {
		return err
	}
	for _, s := range all {
		if err := w.store.Stop(ctx, s.Name, 0); err != nil {
			return err
		}
	}
	started, err := w.meanwhile(at, func() error {
		var starts errgroup.Group
		for _, s := range all {
			starts.Go(func() error { return w.store.Start(ctx, s.Name) })
		}
		return starts.Wait()
	})
	if err != nil {
		return err
	}
	r.add(fmt.Sprintf("%d at once: first byte of each", count), took)
	r.add("another webspace's first byte, before", calm)
	r.add(fmt.Sprintf("another webspace's first byte, while %d boot", count), woken)
	r.add(fmt.Sprintf("another webspace's first byte, while LXD alone starts %d at once", count), started)
	for _, s := range append(all, other) {
		if err := w.store.Delete(ctx, s.Name); err != nil {
			return err
		}
	}
	return nil
}

// meanwhile asks a webspace every 5 ms while work is under way.
func (w *world) meanwhile(at string, work func() error) (list []time.Duration, err error) {
	ended := make(chan struct{})
	var g errgroup.Group
	g.Go(func() error {
		defer close(ended)
		return work()
	})
	g.Go(func() error {
		for {
			select {
			case <-ended:
				return nil
			case <-time.After(5 * time.Millisecond):
			}
			took, err := w.knock(at)
			if err != nil {
				return fmt.Errorf("the other webspace: %w", err)
			}
			list = append(list, took)
		}
	})
	err = g.Wait()
	return list, err
}

// debian measures the image with systemd.
func (w *world) debian(ctx context.Context, r *results, rounds int) error {
	if err := w.lab.ImportDebian(ctx); err != nil {
		return err
	}
	if err := w.image(ctx, r, "Debian with systemd", lab.Debian, min(rounds, 10)); err != nil {
		return err
	}
	return w.shortened(ctx, r, "Debian with systemd", lab.Debian, bothHooks, min(rounds, 10))
}

// server gives it something that listens.
func (w *world) server(ctx context.Context, s *lab.Webspace) error {
	return errors.Join(w.push(ctx, s, "/etc/systemd/system/echo.service", "[Service]\nExecStart=/usr/bin/iperf3 -s -p 7000\n"),
		w.push(ctx, s, "/etc/systemd/system/multi-user.target.d/echo.conf", "[Unit]\nWants=echo.service\n"))
}

// quantile of durations, which it sorts.
func quantile(list []time.Duration, q float64) time.Duration {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[min(len(list)-1, int(q*float64(len(list))))]
}
