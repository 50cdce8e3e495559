package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/lanyard-project/lanyard/control/api/wire"
	"github.com/lanyard-project/lanyard/webspace"
)

// eventStream writes server-sent events. Safe for concurrent use; after an error nothing more is written.
type eventStream struct {
	w       http.ResponseWriter
	control *http.ResponseController

	mu  sync.Mutex
	err error
}

// wantsEvents says whether a client asked for events where it could also have one answer.
func wantsEvents(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "text/event-stream")
}

func newEventStream(w http.ResponseWriter) *eventStream {
	if a, ok := w.(*answer); ok {
		a.limit = 0 // each event has its own
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	e := &eventStream{w: w, control: http.NewResponseController(w)}
	w.WriteHeader(http.StatusOK)
	e.write(": ok\n\n")
	return e
}

func (e *eventStream) event(name string, data any) error {
	text, err := json.Marshal(data)
	if err != nil {
		return err
	}
	return e.write("event: " + name + "\ndata: " + string(text) + "\n\n")
}

func (e *eventStream) heartbeat() error { return e.write(": \n\n") }

func (e *eventStream) write(text string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil {
		return e.err
	}
	_ = e.control.SetWriteDeadline(time.Now().Add(answerTime))
	if _, e.err = e.w.Write([]byte(text)); e.err == nil {
		e.err = e.control.Flush()
	}
	return e.err
}

// Watch tells of every change of a webspace, after its present state, until the client goes.
func (o operations) Watch(w http.ResponseWriter, r *http.Request, username string) {
	who, err := o.target(r.Context(), username)
	if err != nil {
		o.problem(w, r, err)
		return
	}
	release, ok := o.limits.stream(callOf(r.Context()).caller.UID)
	if !ok {
		o.problem(w, r, &failure{code: codeRate, cause: "too many open streams", after: 10 * time.Second})
		return
	}
	defer release()
	ctx, _, end := o.stream(r.Context(), username)
	defer end()
	first, err := o.o.Webspaces.Get(ctx, who.UID)
	if err != nil && !errors.Is(err, webspace.ErrNotFound) {
		o.problem(w, r, err)
		return
	}
	changes := o.o.Webspaces.Watch(who.UID)
	defer changes.Close()
	stream := newEventStream(w)
	_ = stream.event("state", eventOf(webspace.Change{Time: time.Now(), Deleted: err != nil, Instance: first}))
	o.follow(ctx, stream, changes)
	if err := lost(ctx); err != nil {
		f, c := explain(err), callOf(r.Context())
		c.code = f.code.Name
		_ = stream.event("error", o.describe(c, f))
	}
}

func (o operations) follow(ctx context.Context, stream *eventStream, changes Changes) {
	for {
		wait, cancel := context.WithTimeout(ctx, o.o.Heartbeat)
		c, err := changes.Next(wait)
		quiet := wait.Err() != nil
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && quiet:
			err = stream.heartbeat()
		case err == nil:
			err = stream.event("state", eventOf(c))
		}
		if err != nil {
			return
		}
	}
}

func eventOf(c webspace.Change) wire.Event {
	e := wire.Event{Time: c.Time.UTC(), Exists: !c.Deleted}
	if c.Deleted {
		return e
	}
	status := statusOf(c.Instance.Status)
	e.Status = &status
	if c.Instance.RecordErr == nil {
		w := webspaceOf(c.Instance)
		e.Webspace = &w
	}
	return e
}

// createWithProgress makes a webspace and tells how far it is. A client that goes does not end it.
func (o operations) createWithProgress(w http.ResponseWriter, r *http.Request, make func(func(webspace.Progress)) (webspace.Instance, error)) {
	stream := newEventStream(w)
	stop, stopped := context.WithCancel(r.Context())
	var beat sync.WaitGroup
	beat.Go(func() {
		tick := time.NewTicker(o.o.Heartbeat)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_ = stream.heartbeat()
			case <-stop.Done():
				return
			}
		}
	})
	i, err := make(func(p webspace.Progress) {
		out := wire.Progress{Stage: p.Stage, Text: clean(p.Text)}
		if p.Percent >= 0 {
			percent := int32(p.Percent)
			out.Percent = &percent
		}
		_ = stream.event("progress", out)
	})
	stopped()
	beat.Wait()
	if err != nil {
		f, c := explain(err), callOf(r.Context())
		c.code = f.code.Name
		_ = stream.event("error", o.describe(c, f))
		return
	}
	_ = stream.event("done", webspaceOf(i))
}
