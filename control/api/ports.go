package api

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/lanyard-project/lanyard/control/account"
	"github.com/lanyard-project/lanyard/control/api/wire"
	"github.com/lanyard-project/lanyard/webspace"
)

// GetPorts lists the TCP forwards.
func (o operations) GetPorts(w http.ResponseWriter, r *http.Request, username string) {
	o.ports(w, r, username, func(r webspace.Record) webspace.Ports { return r.Ports })
}

// GetUDPPorts lists the UDP forwards.
func (o operations) GetUDPPorts(w http.ResponseWriter, r *http.Request, username string) {
	o.ports(w, r, username, func(r webspace.Record) webspace.Ports { return r.UDPPorts })
}

func (o operations) ports(w http.ResponseWriter, r *http.Request, username string, of func(webspace.Record) webspace.Ports) {
	o.read(w, r, username, func(ctx context.Context, who account.Identity) (any, error) {
		i, err := o.usable(ctx, who)
		return portsOf(of(i.Record)), err
	})
}

// AddPort forwards an external TCP port.
func (o operations) AddPort(w http.ResponseWriter, r *http.Request, username string, external, internal wire.Port) {
	o.addPort(w, r, username, webspace.TCP, external, internal)
}

// AddUDPPort forwards an external UDP port.
func (o operations) AddUDPPort(w http.ResponseWriter, r *http.Request, username string, external, internal wire.Port) {
	o.addPort(w, r, username, webspace.UDP, external, internal)
}

func (o operations) addPort(w http.ResponseWriter, r *http.Request, username string, proto webspace.Proto, external, internal wire.Port) {
	if external == 0 { // to the service this means "any"
		o.problem(w, r, fail(codeBadPort, "", "external port 0 does not exist"))
		return
	}
	if o.forward(w, r, username, proto, external, internal) != 0 {
		w.WriteHeader(http.StatusCreated)
	}
}

// AddRandomPort forwards some free TCP port.
func (o operations) AddRandomPort(w http.ResponseWriter, r *http.Request, username string, internal wire.Port) {
	o.addRandom(w, r, username, webspace.TCP, internal)
}

// AddRandomUDPPort forwards some free UDP port.
func (o operations) AddRandomUDPPort(w http.ResponseWriter, r *http.Request, username string, internal wire.Port) {
	o.addRandom(w, r, username, webspace.UDP, internal)
}

func (o operations) addRandom(w http.ResponseWriter, r *http.Request, username string, proto webspace.Proto, internal wire.Port) {
	if external := o.forward(w, r, username, proto, 0, internal); external != 0 {
		reply(w, http.StatusCreated, wire.AddRandomPortResponse{EPort: wire.Port(external)})
	}
}

// forward adds one, and gives its external port; 0 when it has answered with a failure.
func (o operations) forward(w http.ResponseWriter, r *http.Request, username string, proto webspace.Proto, external, internal wire.Port) (got int) {
	about := []slog.Attr{slog.String("protocol", string(proto)), slog.Int("external", int(external)), slog.Int("internal", int(internal))}
	o.change(w, r, username, change{action: "port.add", about: about, do: func(ctx context.Context, who account.Identity) (err error) {
		got, err = o.o.Webspaces.AddPort(ctx, who.UID, proto, int(external), int(internal))
		if err != nil {
			got = 0
		}
		return err
	}})
	return got
}

// RemovePort ends a TCP forward.
func (o operations) RemovePort(w http.ResponseWriter, r *http.Request, username string, external wire.Port) {
	o.removePort(w, r, username, webspace.TCP, external)
}

// RemoveUDPPort ends a UDP forward.
func (o operations) RemoveUDPPort(w http.ResponseWriter, r *http.Request, username string, external wire.Port) {
	o.removePort(w, r, username, webspace.UDP, external)
}

func (o operations) removePort(w http.ResponseWriter, r *http.Request, username string, proto webspace.Proto, external wire.Port) {
	about := []slog.Attr{slog.String("protocol", string(proto)), slog.Int("external", int(external))}
	if o.change(w, r, username, change{action: "port.remove", about: about, do: func(ctx context.Context, who account.Identity) error {
		return o.o.Webspaces.RemovePort(ctx, who.UID, proto, int(external))
	}}) {
		w.WriteHeader(http.StatusNoContent)
	}
}
