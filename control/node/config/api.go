package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// API is the REST API of the role control.
type API struct {
	Address      string         `koanf:"address" doc:"Host and port. Empty: none, only the socket. Beyond loopback it should have a certificate, or a proxy in front of it that has one."`
	TLSCert      string         `koanf:"tls_cert" doc:"File: certificate chain (PEM). Read again when it changes."`
	TLSKey       string         `koanf:"tls_key" doc:"File: its key (PEM)."`
	Socket       string         `koanf:"socket" doc:"Path of a unix socket for this machine's root, who is an admin there without a token. Empty: none."`
	Origins      []string       `koanf:"origins" doc:"Origins of web pages that may use the API, e.g. https://panel.example.org. *: all, but not to open websockets."`
	Proxies      []netip.Prefix `koanf:"proxies" doc:"Proxies in front of it, whose X-Forwarded-For is believed."`
	UserRate     int            `koanf:"user_rate" doc:"Requests of one member per second, on average."`
	UserBurst    int            `koanf:"user_burst" doc:"Requests of one member at once."`
	AddressRate  int            `koanf:"address_rate" doc:"Requests of one address per second, on average, whoever sends them."`
	AddressBurst int            `koanf:"address_burst" doc:"Requests of one address at once."`
	UserStreams  int            `koanf:"user_streams" doc:"Open commands, consoles, transfers and event streams of one member."`
	Streams      int            `koanf:"streams" doc:"The same of all members."`
	MaxFile      int            `koanf:"max_file" doc:"Largest file that can be copied into a webspace, MiB."`
	ReadTimeout  time.Duration  `koanf:"read_timeout" doc:"Of a request that changes nothing."`
	WriteTimeout time.Duration  `koanf:"write_timeout" doc:"Of one that does. A creation has its own."`
	ExecTimeout  time.Duration  `koanf:"exec_timeout" doc:"Of a command that is run without a websocket."`
	SampleEvery  time.Duration  `koanf:"sample_every" doc:"How often it is asked what each webspace uses."`
}

func defaultAPI() API {
	return API{Address: "127.0.0.1:8081", Socket: "/run/lanyard/api.sock", Origins: []string{"*"}, UserRate: 20, UserBurst: 200,
		AddressRate: 50, AddressBurst: 500, UserStreams: 32, Streams: 1024, MaxFile: 4096, ReadTimeout: 30 * time.Second,
		WriteTimeout: 5 * time.Minute, ExecTimeout: 10 * time.Minute, SampleEvery: time.Minute}
}

func (c *Config) checkAPI() error {
	a := c.API
	if a.Address != "" {
		if _, port, err := net.SplitHostPort(a.Address); err != nil || port == "" {
			return bad("api.address", fmt.Sprintf("%q is no host with a port", a.Address), "write it as 127.0.0.1:8081, or :8081 for every address")
		}
	}
	switch {
	case (a.TLSCert == "") != (a.TLSKey == ""):
		return bad("api.tls_cert", "a certificate needs its key, and a key its certificate", "give both api.tls_cert and api.tls_key, or none")
	case a.Socket != "" && (!strings.HasPrefix(a.Socket, "/") || len(a.Socket) > 107):
		return bad("api.socket", fmt.Sprintf("%q is no absolute path of at most 107 octets", a.Socket), "leave it at /run/lanyard/api.sock")
	}
	for _, o := range a.Origins {
		if u, err := url.Parse(o); o != "*" && (err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || strings.Trim(u.Path, "/") != "") {
			return bad("api.origins", fmt.Sprintf("%q is no origin", o), "write it as https://panel.example.org, or * for all")
		}
	}
	for _, p := range a.Proxies {
		if !p.IsValid() {
			return bad("api.proxies", "there is an empty prefix", "write prefixes such as 10.0.0.7/32")
		}
	}
	for _, s := range []struct {
		key   string
		value int
		most  int
	}{{"user_rate", a.UserRate, 1e6}, {"user_burst", a.UserBurst, 1e6}, {"address_rate", a.AddressRate, 1e6},
		{"address_burst", a.AddressBurst, 1e6}, {"user_streams", a.UserStreams, 1 << 16}, {"streams", a.Streams, 1 << 16}, {"max_file", a.MaxFile, 1 << 20}} {
		if s.value < 1 || s.value > s.most {
			return bad("api."+s.key, fmt.Sprintf("%d is not between 1 and %d", s.value, s.most), "leave it at its default")
		}
	}
	for _, s := range []struct {
		key   string
		value time.Duration
	}{{"read_timeout", a.ReadTimeout}, {"write_timeout", a.WriteTimeout}, {"exec_timeout", a.ExecTimeout}, {"sample_every", a.SampleEvery}} {
		if s.value < time.Second || s.value > 24*time.Hour {
			return bad("api."+s.key, fmt.Sprintf("%v is not between a second and a day", s.value), "leave it at its default")
		}
	}
	return nil
}

// CheckControl checks what the role control needs, for a machine that runs it without the role node: nothing of the rest
// of the configuration is then found out or checked.
func (c *Config) CheckControl() error {
	for _, f := range []func() error{c.checkLXD, c.checkWebspaces, c.checkAPI, c.Accounts.Check} {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}
