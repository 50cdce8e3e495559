package node

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/lanyard-project/lanyard/control/node/nodeapi"
	"github.com/lanyard-project/lanyard/control/node/peering"
)

// servePeers answers the other nodes of the cluster until ctx ends.
func (n *Node) servePeers(ctx context.Context) error {
	at := netip.AddrPortFrom(n.config.Underlay.Address, n.config.Peers.Port)
	l, err := peering.New(n.config.LXD.Folder()).Listen(ctx, at)
	if err != nil {
		return err
	}
	return serveHTTP(ctx, l, peerServer(n.peerHandler(), n.log.With("part", "peers")))
}

// peerServer has the limits. What goes wrong with a connection anybody on the underlay can bring about: nobody's log should
// be filled by it.
func peerServer(h http.Handler, log *slog.Logger) *http.Server {
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second, // and of the handshake
		ReadTimeout:       5 * time.Second,
		WriteTimeout:      nodeapi.CallTimeout,
		MaxHeaderBytes:    4 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	s.SetKeepAlivesEnabled(false)
	return s
}

// peerHandler is what another node may ask: about one webspace, and how often each was woken. Nothing that it can ask changes
// anything.
func (n *Node) peerHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+nodeapi.PathWakes, n.ofOne(n.wakes))
	mux.HandleFunc("GET "+nodeapi.PathAwake, n.ofOne(n.awake))
	mux.HandleFunc("GET "+nodeapi.PathWoken, n.woken)
	mux.HandleFunc("/", refuseUnknown)
	return mux
}

// ofOne refuses a question about all webspaces.
func (n *Node) ofOne(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if uid, err := n.asked(r); err == nil && uid == everybody {
			refuseQuery(w, errors.New("it does not say about which webspace"))
			return
		}
		h(w, r)
	}
}
