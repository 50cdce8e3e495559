package config

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Webspaces are what members may have.
type Webspaces struct {
	Domain          string        `koanf:"domain" doc:"Zone of the default names: the webspace of alice is alice.<domain>. No custom domain may be in it."`
	Profiles        []string      `koanf:"profiles" doc:"LXD profiles of new webspaces, which give them their disk and limits."`
	InstanceConfig  []string      `koanf:"instance_config" doc:"Further LXD configuration of new webspaces, each key=value, such as limits.memory=512MiB or security.nesting=true. Without it they are unprivileged, with an id map of their own, and without nesting."`
	StartNew        bool          `koanf:"start_new" doc:"Leave new webspaces running. Otherwise they boot when they are visited."`
	StartupDelay    time.Duration `koanf:"startup_delay" doc:"Of new webspaces: how long visitors wait at most until a booted webspace answers. Members may change it, up to wake.max_startup_delay."`
	HTTPPort        int           `koanf:"http_port" doc:"Of new webspaces: where their web server listens."`
	SNIPassthrough  bool          `koanf:"sni_passthrough" doc:"Of new webspaces: whether they do TLS themselves."`
	NapAfter        time.Duration `koanf:"nap_after" doc:"Of new webspaces: after how long without use they are frozen. 0: never."`
	SleepAfter      time.Duration `koanf:"sleep_after" doc:"Of new webspaces: after how long without use they are stopped. 0: never."`
	MaxPorts        int           `koanf:"max_ports" doc:"Forwards of one webspace, TCP and UDP together. They are chosen from forwards.ports."`
	MaxDomains      int           `koanf:"max_domains" doc:"Custom domains of one webspace."`
	ShutdownTimeout time.Duration `koanf:"shutdown_timeout" doc:"How long a webspace may take to shut down before it is stopped without asking."`
	StartTimeout    time.Duration `koanf:"start_timeout" doc:"How long LXD may take to start one."`
	CreateTimeout   time.Duration `koanf:"create_timeout" doc:"How long the whole creation of a webspace may take, with the download of its image and the installation of an SSH server."`
}

func defaultWebspaces() Webspaces {
	return Webspaces{Domain: "webspace.localhost", Profiles: []string{"default"}, StartupDelay: 3 * time.Second, HTTPPort: 80,
		MaxPorts: 64, MaxDomains: 64, ShutdownTimeout: 30 * time.Second, StartTimeout: 90 * time.Second, CreateTimeout: 15 * time.Minute}
}

// maxRecord is how many ports or domains a record may hold here; package webspace allows no fewer.
const maxRecord = 1024

var (
	instanceKey = regexp.MustCompile(`^[a-z][a-z0-9_.-]{0,100}$`)
	profileName = regexp.MustCompile(`^[^/\s]{1,64}$`)
)

func (c *Config) checkWebspaces() error {
	w := c.Webspaces
	if !domainName.MatchString(w.Domain) || !strings.Contains(w.Domain, ".") || len(w.Domain) > 200 {
		return bad("webspaces.domain", fmt.Sprintf("%q is no domain name", w.Domain), "use one such as webspaces.example.com")
	}
	if len(w.Profiles) == 0 {
		return bad("webspaces.profiles", "it is empty", "name a profile that has a root disk, see: lxc profile list")
	}
	for _, p := range w.Profiles {
		if !profileName.MatchString(p) {
			return bad("webspaces.profiles", fmt.Sprintf("%q is no name of a profile", p), "see: lxc profile list")
		}
	}
	for _, kv := range w.InstanceConfig {
		key, _, ok := strings.Cut(kv, "=")
		if !ok || !instanceKey.MatchString(key) {
			return bad("webspaces.instance_config", fmt.Sprintf("%q is no key=value", kv), "write one such as limits.memory=512MiB")
		}
		if strings.HasPrefix(key, "user.lanyard") || strings.HasPrefix(key, "volatile.") {
			return bad("webspaces.instance_config", key+" is not for people", "leave it out")
		}
	}
	for _, d := range []struct {
		key         string
		value       time.Duration
		least, most time.Duration
	}{
		{"startup_delay", w.StartupDelay, 0, c.Wake.MaxStartupDelay},
		{"nap_after", w.NapAfter, 0, 365 * 24 * time.Hour}, {"sleep_after", w.SleepAfter, 0, 365 * 24 * time.Hour},
		{"shutdown_timeout", w.ShutdownTimeout, time.Second, time.Hour}, {"start_timeout", w.StartTimeout, time.Second, time.Hour},
		{"create_timeout", w.CreateTimeout, time.Second, 24 * time.Hour},
	} {
		if d.value < d.least || d.value > d.most {
			return bad("webspaces."+d.key, fmt.Sprintf("%v is not between %v and %v", d.value, d.least, d.most), "leave it at its default")
		}
	}
	if w.NapAfter%time.Second != 0 || w.SleepAfter%time.Second != 0 {
		return bad("webspaces.nap_after and webspaces.sleep_after", "they are not whole seconds", "write them such as 5m")
	}
	switch {
	case w.HTTPPort < 1 || w.HTTPPort > 65535:
		return bad("webspaces.http_port", fmt.Sprintf("%d is no port", w.HTTPPort), "leave it at 80")
	case w.MaxPorts < 1 || w.MaxPorts > maxRecord:
		return bad("webspaces.max_ports", fmt.Sprintf("%d is not between 1 and %d", w.MaxPorts, maxRecord), "leave it at 64")
	case w.MaxDomains < 1 || w.MaxDomains > maxRecord:
		return bad("webspaces.max_domains", fmt.Sprintf("%d is not between 1 and %d", w.MaxDomains, maxRecord), "leave it at 64")
	}
	return nil
}
