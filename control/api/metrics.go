package api

import (
	"context"
	"net/http"
	"time"

	"github.com/lanyard-project/lanyard/control/account"
	"github.com/lanyard-project/lanyard/control/api/wire"
)

// GetMetrics gives what a webspace used over time.
func (o operations) GetMetrics(w http.ResponseWriter, r *http.Request, username string, params wire.GetMetricsParams) {
	o.read(w, r, username, func(ctx context.Context, who account.Identity) (any, error) {
		until, step := time.Now(), time.Duration(0)
		if params.Until != nil {
			until = *params.Until
		}
		since := until.Add(-time.Hour)
		if params.Since != nil {
			since = *params.Since
		}
		if params.Step != nil {
			step = time.Duration(*params.Step) * time.Second
		}
		if since.After(until) || step < 0 {
			return nil, fail(codeInvalid, "", "since must be before until, and step not negative")
		}
		if _, err := o.o.Webspaces.Get(ctx, who.UID); err != nil {
			return nil, err
		}
		points, step := o.series.of(who.UID, since, until, step)
		out := wire.Metrics{Step: step.Seconds(), Samples: make([]wire.Sample, len(points))}
		for n, p := range points {
			s := wire.Sample{Time: time.Unix(p.at, 0).UTC(), Running: p.running, CPU: p.cpu.Seconds(), Memory: p.memory,
				Processes: int64(p.processes), BytesReceived: p.received, BytesSent: p.sent}
			if o.o.Wakes != nil {
				wakes := int64(p.wakes)
				s.Wakes = &wakes
			}
			out.Samples[n] = s
		}
		return out, nil
	})
}

// GetWakes gives a page of when and why a webspace woke, napped and slept.
func (o operations) GetWakes(w http.ResponseWriter, r *http.Request, username string, params wire.GetWakesParams) {
	o.read(w, r, username, func(ctx context.Context, who account.Identity) (any, error) {
		limit, err := pageLimit(params.Limit)
		if err != nil {
			return nil, err
		}
		i, err := o.o.Webspaces.Get(ctx, who.UID)
		if err != nil {
			return nil, err
		}
		if o.o.Wakes == nil {
			return nil, ErrElsewhere
		}
		cursor := ""
		if params.Cursor != nil {
			cursor = clip(*params.Cursor, 200)
		}
		page, err := o.o.Wakes.Wakes(ctx, i, cursor, limit)
		if page.Wakes == nil {
			page.Wakes = []wire.WakeRecord{}
		}
		return page, err
	})
}

// GetWhyAwake says what keeps a webspace awake.
func (o operations) GetWhyAwake(w http.ResponseWriter, r *http.Request, username string) {
	o.read(w, r, username, func(ctx context.Context, who account.Identity) (any, error) {
		i, err := o.o.Webspaces.Get(ctx, who.UID)
		if err != nil {
			return nil, err
		}
		if o.o.Wakes == nil {
			return nil, ErrElsewhere
		}
		why, err := o.o.Wakes.WhyAwake(ctx, i)
		if why.Reasons == nil {
			why.Reasons = []wire.AwakeReason{}
		}
		return why, err
	})
}
