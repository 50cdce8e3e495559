package apibench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lanyard-project/lanyard/control/api/wire"
)

// Plan of a run.
type Plan struct {
	Webspaces int // in all
	AtOnce    int // of them are created at the same time
	Reads     int // of each kind
}

// Full is what the pages show; Quick is a look.
var (
	Full  = Plan{Webspaces: 1000, AtOnce: 200, Reads: 300}
	Quick = Plan{Webspaces: 60, AtOnce: 20, Reads: 50}
)

// Result of a run.
type Result struct {
	Date      time.Time     `json:"date"`
	CPUs      int           `json:"cpus"`
	LXD       string        `json:"lxd"`
	Webspaces int           `json:"webspaces"`
	AtOnce    int           `json:"at_once"`
	Creating  time.Duration `json:"creating_ns"` // all of AtOnce
	Addresses int           `json:"addresses"`   // different ones among them
	Ports     int           `json:"ports"`
	Reads     []Read        `json:"reads"`
}

// Read is one kind of request: the API's time, and LXD's own for the same, asked in turns.
type Read struct {
	Name           string        `json:"name"`
	API, LXD       Spread        `json:"-"`
	APIMedian      time.Duration `json:"api_median_ns"`
	APITail        time.Duration `json:"api_p99_ns"`
	LXDMedian      time.Duration `json:"lxd_median_ns"`
	LXDTail        time.Duration `json:"lxd_p99_ns"`
	OverheadMedian time.Duration `json:"over_median_ns"` // median of the differences of neighbours
}

// Spread of times.
type Spread struct{ Median, Tail time.Duration }

func spread(all []time.Duration) Spread {
	slices.Sort(all)
	return Spread{all[len(all)/2], all[min(len(all)-1, len(all)*99/100)]}
}

// Run measures, says what it finds on w, and writes api.json and api.md into folder ("" for nowhere).
func Run(ctx context.Context, p Plan, folder string, out io.Writer) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("no privilege: it runs an LXD in a namespace of its own; run it as root")
	}
	w, err := build(ctx, p.Webspaces)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	server, err := w.service.Store().Server(ctx)
	if err != nil {
		return err
	}
	r := Result{Date: time.Now().UTC().Truncate(time.Second), CPUs: runtime.NumCPU(), LXD: server.Version, Webspaces: p.Webspaces, AtOnce: p.AtOnce}
	if err := w.crowd(ctx, p, &r); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d creations at once: %v, %d addresses, %d ports\n", r.AtOnce, r.Creating.Round(time.Millisecond), r.Addresses, r.Ports)
	if err := w.fill(ctx, p); err != nil {
		return err
	}
	if err := w.reads(ctx, p, &r, out); err != nil || folder == "" {
		return err
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(filepath.Join(folder, "api.json"), append(text, '\n'), 0o644),
		os.WriteFile(filepath.Join(folder, "api.md"), []byte(r.page()), 0o644))
}

// create makes the webspace of a member, and a forward of it.
func (w *world) create(ctx context.Context, uid int) (address string, port int32, err error) {
	c, err := w.client(fmt.Sprintf("m%d", uid))
	if err != nil {
		return "", 0, err
	}
	made, err := c.CreateWithResponse(ctx, "self", wire.InitRequest{Image: empty})
	if err != nil {
		return "", 0, err
	}
	if made.JSON201 == nil {
		return "", 0, fmt.Errorf("create: %s: %s", made.Status(), made.Body)
	}
	forward, err := c.AddRandomPortWithResponse(ctx, "self", 80)
	if err != nil {
		return "", 0, err
	}
	if forward.JSON201 == nil {
		return "", 0, fmt.Errorf("forward: %s: %s", forward.Status(), forward.Body)
	}
	return *made.JSON201.Address, forward.JSON201.EPort, nil
}

// crowd creates many at once.
func (w *world) crowd(ctx context.Context, p Plan, r *Result) error {
	var mu sync.Mutex
	var all sync.WaitGroup
	var errs error
	addresses, ports := map[string]bool{}, map[int32]bool{}
	began := time.Now()
	for n := range p.AtOnce {
		all.Go(func() {
			address, port, err := w.create(ctx, n+1)
			mu.Lock()
			defer mu.Unlock()
			errs = errors.Join(errs, err)
			addresses[address], ports[port] = true, true
		})
	}
	all.Wait()
	r.Creating, r.Addresses, r.Ports = time.Since(began), len(addresses), len(ports)
	if errs == nil && (r.Addresses != p.AtOnce || r.Ports != p.AtOnce) {
		errs = fmt.Errorf("%d creations at once ended in %d addresses and %d ports", p.AtOnce, r.Addresses, r.Ports)
	}
	return errs
}

// fill creates the rest, a few at a time.
func (w *world) fill(ctx context.Context, p Plan) error {
	var mu sync.Mutex
	var all sync.WaitGroup
	var errs error
	todo := make(chan int)
	for range 16 {
		all.Go(func() {
			for uid := range todo {
				if _, _, err := w.create(ctx, uid); err != nil {
					mu.Lock()
					errs = errors.Join(errs, err)
					mu.Unlock()
				}
			}
		})
	}
	for uid := p.AtOnce + 1; uid <= p.Webspaces; uid++ {
		todo <- uid
	}
	close(todo)
	all.Wait()
	return errs
}

func (w *world) reads(ctx context.Context, p Plan, r *Result, out io.Writer) error {
	some := func() int { return 1 + rand.IntN(p.Webspaces) }
	get := func(path string) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+path, nil)
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer token-admin")
		resp, err := w.http.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode != 200 {
			err = fmt.Errorf("%s: %s: %s", path, resp.Status, body)
		}
		return err
	}
	store := w.service.Store()
	for _, k := range []struct {
		name     string
		api, lxd func(uid int) error
	}{
		{"a webspace", func(uid int) error { return get(fmt.Sprintf("/webspace/id:%d", uid)) },
			func(uid int) error { _, err := store.Get(ctx, store.Name(uid)); return err }},
		{"its state", func(uid int) error { return get(fmt.Sprintf("/webspace/id:%d/state", uid)) },
			func(uid int) error { _, err := w.service.State(ctx, uid); return err }},
		{"its ports", func(uid int) error { return get(fmt.Sprintf("/webspace/id:%d/ports", uid)) },
			func(uid int) error { _, err := store.Get(ctx, store.Name(uid)); return err }},
		{"100 of all, for an admin", func(int) error { return get("/webspaces") },
			func(int) error { _, err := store.List(ctx); return err }},
	} {
		var api, lxd, over []time.Duration
		for n := range p.Reads {
			uid := some()
			times := [2]time.Duration{}
			// In turns, and each first as often as the other.
			for turn := range 2 {
				which := (n + turn) % 2
				began := time.Now()
				err := [2]func(int) error{k.api, k.lxd}[which](uid)
				times[which] = time.Since(began)
				if err != nil {
					return err
				}
			}
			api, lxd, over = append(api, times[0]), append(lxd, times[1]), append(over, times[0]-times[1])
		}
		x := Read{Name: k.name, API: spread(api), LXD: spread(lxd), OverheadMedian: spread(over).Median}
		x.APIMedian, x.APITail, x.LXDMedian, x.LXDTail = x.API.Median, x.API.Tail, x.LXD.Median, x.LXD.Tail
		r.Reads = append(r.Reads, x)
		fmt.Fprintf(out, "%-28s API %v (p99 %v), LXD itself %v (p99 %v), over it %v\n", x.Name, ms(x.APIMedian), ms(x.APITail), ms(x.LXDMedian), ms(x.LXDTail), ms(x.OverheadMedian))
	}
	return nil
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d)/1e6) }

// page is api.md.
func (r Result) page() string {
	var b strings.Builder
	fmt.Fprintf(&b, `<!-- Written by bench --api. Do not edit. -->
# The API with %d webspaces

%s, %d processors, LXD %s. The API and its client are one process beside a real LXD; webspaces are of an empty image, and asleep.
Each read is asked of the API and of LXD in turns; the goal is a median of less than 10 ms over LXD's own time.

| read | API, median | p99 | LXD itself, median | p99 | over it, median |
|---|---|---|---|---|---|
`, r.Webspaces, r.Date.Format(time.DateOnly), r.CPUs, r.LXD)
	for _, x := range r.Reads {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | **%s** |\n", x.Name, ms(x.APIMedian), ms(x.APITail), ms(x.LXDMedian), ms(x.LXDTail), ms(x.OverheadMedian))
	}
	fmt.Fprintf(&b, `
A page of the listing comes from what the daemon last saw, which is why it takes less than LXD's own.

%d creations at once ended after %.1f s in %d webspaces with %d different addresses and %d different external ports.
`, r.AtOnce, r.Creating.Seconds(), r.AtOnce, r.Addresses, r.Ports)
	return b.String()
}
