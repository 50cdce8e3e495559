package node

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/lanyard-project/lanyard/control/node/nodeapi"
	"github.com/lanyard-project/lanyard/dataplane"
)

const (
	maxStreams = 8    // at once
	queued     = 1024 // samples that wait for a slow reader; more are counted as missed
)

// streamDrops writes sampled drops as they happen, until the reader goes away or the daemon ends.
func (n *Node) streamDrops(w http.ResponseWriter, r *http.Request, streams chan struct{}) {
	only := r.URL.Query().Get("webspace")
	if len(only) > 128 {
		refuse(w, http.StatusBadRequest, nodeapi.Error{Code: nodeapi.CodeBadRequest, What: "that is no name of a webspace",
			Cause: "it is too long", Next: "see their names: lanyard status"})
		return
	}
	select {
	case streams <- struct{}{}:
		defer func() { <-streams }()
	default:
		refuse(w, http.StatusServiceUnavailable, nodeapi.Error{Code: nodeapi.CodeStarting, What: "too many traces run already",
			Cause: "a node serves a few at once", Next: "end another lanyard trace"})
		return
	}

	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	samples := make(chan dataplane.Sample, queued)
	ended := make(chan error, 1)
	var missed atomic.Uint64
	go func() { // ends with ctx; its end is awaited below
		ended <- n.plane.Samples(ctx, func(s dataplane.Sample) {
			if only != "" && s.Owner != only {
				return
			}
			s.Data = slices.Clone(s.Data)
			select {
			case samples <- s:
			default:
				missed.Add(1)
			}
		})
	}()
	over := false
	defer func() {
		cancel()
		if !over {
			<-ended
		}
	}()

	out := http.NewResponseController(w)
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.WriteHeader(http.StatusOK)
	lines := json.NewEncoder(w)
	alive := time.NewTicker(nodeapi.KeepAlive)
	defer alive.Stop()
	if out.Flush() != nil {
		return
	}
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case err := <-ended:
			over = true
			if err != nil && ctx.Err() == nil {
				n.log.Warn("samples of drops cannot be read", "err", err)
			}
			return
		case <-alive.C:
			_ = out.SetWriteDeadline(time.Now().Add(nodeapi.KeepAlive))
			_, err = w.Write([]byte("\n"))
		case s := <-samples:
			_ = out.SetWriteDeadline(time.Now().Add(nodeapi.KeepAlive))
			err = lines.Encode(nodeapi.Drop{Time: s.Time, Webspace: s.Owner, Reason: s.Reason.String(), Hook: fmt.Sprint(s.Hook),
				Interface: s.Interface, Ifindex: s.Ifindex, Length: s.Length, Data: s.Data, Missed: missed.Swap(0)})
		}
		if err != nil || len(samples) == 0 && out.Flush() != nil {
			return
		}
	}
}
