package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/lanyard-project/lanyard/control/account"
	"github.com/lanyard-project/lanyard/control/api/wire"
	"github.com/lanyard-project/lanyard/webspace"
)

// GetImages lists what a webspace can be made from.
func (o operations) GetImages(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), o.o.ReadTime)
	defer cancel()
	images, err := o.o.Webspaces.Images(ctx)
	if err != nil {
		o.problem(w, r, err)
		return
	}
	list := make([]wire.Image, len(images))
	for n, i := range images {
		list[n] = imageOf(i)
	}
	reply(w, http.StatusOK, list)
}

// usable is a webspace whose record can be read.
func (s *Server) usable(ctx context.Context, who account.Identity) (webspace.Instance, error) {
	i, err := s.o.Webspaces.Get(ctx, who.UID)
	if err == nil {
		err = i.RecordErr
		if errors.Is(err, webspace.ErrInvalid) { // of the record, not of this request
			err = &failure{code: codeInternal, what: "the record of this webspace cannot be used", err: err}
		}
	}
	return i, err
}

// Get shows a webspace.
func (o operations) Get(w http.ResponseWriter, r *http.Request, username string) {
	o.read(w, r, username, func(ctx context.Context, who account.Identity) (any, error) {
		i, err := o.usable(ctx, who)
		return webspaceOf(i), err
	})
}

// Create makes a webspace.
func (o operations) Create(w http.ResponseWriter, r *http.Request, username string) {
	var body wire.InitRequest
	if err := decode(w, r, &body); err != nil {
		o.problem(w, r, err)
		return
	}
	spec := webspace.CreateSpec{Image: body.Image}
	about := []slog.Attr{slog.String("image", clip(body.Image, 100)), slog.Bool("password", body.Password != nil), slog.Bool("ssh", body.SSH != nil && *body.SSH)}
	if body.Password != nil {
		spec.Password = *body.Password
	}
	spec.SSH = body.SSH != nil && *body.SSH
	if body.Image == "" {
		o.problem(w, r, fail(codeInvalid, "", "it needs an image"))
		return
	}
	who, err := o.target(r.Context(), username)
	if err != nil {
		o.audit(r, "webspace.create", username, account.Identity{UID: -1}, about, err)
		o.problem(w, r, err)
		return
	}
	spec.UID, spec.SSHKeys = who.UID, who.SSHKeys
	make := func(progress func(webspace.Progress)) (webspace.Instance, error) {
		ctx, done := o.begun(r.Context(), createTime)
		defer done()
		i, err := o.create(ctx, spec, progress)
		o.audit(r, "webspace.create", username, who, about, err)
		return i, err
	}
	if wantsEvents(r) {
		o.createWithProgress(w, r, make)
		return
	}
	i, err := make(nil)
	if err != nil {
		o.problem(w, r, err)
		return
	}
	reply(w, http.StatusCreated, webspaceOf(i))
}

// create waits for its turn, and creates.
func (s *Server) create(ctx context.Context, spec webspace.CreateSpec, progress func(webspace.Progress)) (webspace.Instance, error) {
	select {
	case s.creations <- struct{}{}:
	default:
		if progress != nil {
			progress(webspace.Progress{Stage: "wait", Text: "waiting for others that are being created", Percent: -1})
		}
		select {
		case s.creations <- struct{}{}:
		case <-ctx.Done():
			return webspace.Instance{}, ctx.Err()
		}
	}
	done := sync.OnceFunc(func() { <-s.creations })
	defer done()
	return s.o.Webspaces.Create(ctx, spec, func(p webspace.Progress) {
		if p.Stage == "network" { // from here on it waits for the webspace's own network, and no longer for LXD
			done()
		}
		if progress != nil {
			progress(p)
		}
	})
}

// createTime is only a last resort: the Service has a bound of its own.
const createTime = time.Hour

// Delete removes a webspace with everything in it.
func (o operations) Delete(w http.ResponseWriter, r *http.Request, username string) {
	if o.change(w, r, username, change{action: "webspace.delete", do: func(ctx context.Context, who account.Identity) error {
		return o.o.Webspaces.Delete(ctx, who.UID)
	}}) {
		w.WriteHeader(http.StatusNoContent)
	}
}

// ListWebspaces shows all of them to admins, from what was last seen, which is at most seconds old.
func (o operations) ListWebspaces(w http.ResponseWriter, r *http.Request, params wire.ListWebspacesParams) {
	after, limit, err := page(params.Cursor, params.Limit)
	if err != nil {
		o.problem(w, r, err)
		return
	}
	list, at := o.o.Webspaces.Cached()
	if at.IsZero() {
		ctx, cancel := context.WithTimeout(r.Context(), o.o.ReadTime)
		defer cancel()
		if list, err = o.o.Webspaces.List(ctx); err != nil {
			o.problem(w, r, err)
			return
		}
	}
	from, _ := slices.BinarySearchFunc(list, after, func(i webspace.Instance, uid int) int { return i.UID - uid })
	to := min(from+limit, len(list))
	out := wire.WebspacePage{Webspaces: make([]wire.WebspaceSummary, 0, to-from)}
	for _, i := range list[from:to] {
		out.Webspaces = append(out.Webspaces, summaryOf(i))
	}
	if to < len(list) {
		next := strconv.Itoa(list[to].UID)
		out.Next = &next
	}
	reply(w, http.StatusOK, out)
}

// page reads where a page of the list begins, and how long it is.
func page(cursor *string, limit *int32) (from, count int, err error) {
	if cursor != nil && *cursor != "" {
		from, err = strconv.Atoi(*cursor)
		if err != nil || from < 0 {
			return 0, 0, ErrCursor
		}
	}
	count, err = pageLimit(limit)
	return from, count, err
}

func pageLimit(limit *int32) (int, error) {
	if limit == nil {
		return 100, nil
	}
	if *limit < 1 || *limit > 1000 {
		return 0, fail(codeInvalid, "", "limit must be between 1 and 1000")
	}
	return int(*limit), nil
}

// GetState shows what a webspace does and uses.
func (o operations) GetState(w http.ResponseWriter, r *http.Request, username string) {
	o.read(w, r, username, func(ctx context.Context, who account.Identity) (any, error) {
		state, err := o.o.Webspaces.State(ctx, who.UID)
		return stateOf(state), err
	})
}

func (o operations) power(w http.ResponseWriter, r *http.Request, username, action string, do func(context.Context, int) error) {
	if o.change(w, r, username, change{action: "webspace." + action, do: func(ctx context.Context, who account.Identity) error {
		return do(ctx, who.UID)
	}}) {
		w.WriteHeader(http.StatusNoContent)
	}
}

// Start boots a webspace.
func (o operations) Start(w http.ResponseWriter, r *http.Request, username string) {
	o.power(w, r, username, "boot", o.o.Webspaces.Boot)
}

// Reboot shuts it down and boots it.
func (o operations) Reboot(w http.ResponseWriter, r *http.Request, username string) {
	o.power(w, r, username, "reboot", o.o.Webspaces.Reboot)
}

// Shutdown shuts it down.
func (o operations) Shutdown(w http.ResponseWriter, r *http.Request, username string) {
	o.power(w, r, username, "shutdown", o.o.Webspaces.Shutdown)
}

// Sync looks at it again. Routes follow by themselves, so that nobody needs this; the seed's clients know it.
func (o operations) Sync(w http.ResponseWriter, r *http.Request, username string) {
	o.power(w, r, username, "sync", o.o.Webspaces.Sync)
}

// EnsureStarted wakes it, waits until it can answer, and gives its address.
func (o operations) EnsureStarted(w http.ResponseWriter, r *http.Request, username string) {
	var at string
	if o.change(w, r, username, change{action: "webspace.ensure-started", do: func(ctx context.Context, who account.Identity) error {
		a, err := o.o.Webspaces.EnsureStarted(ctx, who.UID)
		at = a.String()
		return err
	}}) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte(at))
	}
}
