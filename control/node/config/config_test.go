package config

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// fakeMachine has one interface with a default route.
type fakeMachine struct {
	device      string
	address     netip.Addr
	nameservers []netip.Addr
	ephemeral   string
}

func (m fakeMachine) Hostname() (string, error) { return "node1", nil }
func (m fakeMachine) DefaultRoute() (string, netip.Addr, error) {
	if m.device == "" {
		return "", netip.Addr{}, errors.New("there is no IPv4 default route")
	}
	return m.device, netip.Addr{}, nil
}
func (m fakeMachine) Address(string) (netip.Addr, error) { return m.address, nil }
func (m fakeMachine) Ephemeral(r PortRange) (bool, error) {
	return ephemeral(r, m.ephemeral, "49152-65535"), nil
}
func (m fakeMachine) Nameservers() ([]netip.Addr, error) { return m.nameservers, nil }

func machine() fakeMachine {
	return fakeMachine{device: "eth0", address: netip.MustParseAddr("192.0.2.1"), ephemeral: "32768\t60999",
		nameservers: []netip.Addr{netip.MustParseAddr("127.0.0.53"), netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("198.51.100.53")}}
}

func flags(t testing.TB, args ...string) *pflag.FlagSet {
	t.Helper()
	f := pflag.NewFlagSet("test", pflag.ContinueOnError)
	Flags(f)
	if err := f.Parse(args); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestLaterSourcesWin(t *testing.T) {
	text := []byte("lan: {vni: 1, mtu: 1400}\nunderlay: {port: 1}\nforwards: {addresses: [192.0.2.7]}\npeers:\n  list:\n  - {vtep: 192.0.2.9, index: 9, foreign: true}\n")
	c, err := Parse(text, Sources{
		Environ: []string{"LANYARD_LAN_MTU=1300", "LANYARD_UNDERLAY_PORT=2", "LANYARD_CONFIG=x", "LANYARD_LAB_ID=7", "PATH=/bin",
			"LANYARD_EGRESS_ALLOW=10.1.0.0/16, 10.2.0.0/16", "LANYARD_DHCP_LEASE=90m", "LANYARD_METRICS_WEBSPACES=true"},
		Flags: flags(t, "--underlay-port=3", "--forwards-ports=50000-50100"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.LAN.VNI != 1 || c.LAN.MTU != 1300 || c.Underlay.Port != 3 || c.Forwards.Ports != (PortRange{50000, 50100}) {
		t.Errorf("%+v", c)
	}
	if c.DHCP.Lease != 90*time.Minute || !c.Metrics.Webspaces || len(c.Egress.Allow) != 2 || len(c.Forwards.Addresses) != 1 {
		t.Errorf("%+v", c)
	}
	if want := (Peer{VTEP: netip.MustParseAddr("192.0.2.9"), Index: 9, Foreign: true}); !reflect.DeepEqual(c.Peers.List, []Peer{want}) {
		t.Errorf("%+v", c.Peers.List)
	}
	if c.LAN.Bridge != "lanyard0" {
		t.Error("a default got lost")
	}
}

func TestPeersInTheEnvironment(t *testing.T) {
	c, err := Parse(nil, Sources{Environ: []string{`LANYARD_PEERS_LIST=[{"vtep": "192.0.2.2", "index": 2}, {vtep: 192.0.2.3}]`}})
	if err != nil || len(c.Peers.List) != 2 || c.Peers.List[0].Index != 2 {
		t.Errorf("%+v, %v", c.Peers, err)
	}
}

func TestNothingSaid(t *testing.T) {
	for _, text := range []string{"", "{}", "lan:\n", "lan: {}\n", "# only a comment\n"} {
		c, err := Parse([]byte(text), Sources{Flags: flags(t)})
		if err != nil || !reflect.DeepEqual(c, Default()) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestResolveDefaults(t *testing.T) {
	c, warnings, err := Default().Resolve(machine())
	if err != nil || len(warnings) != 0 {
		t.Fatal(err, warnings)
	}
	for what, ok := range map[string]bool{
		"node":      c.Node.Name == "node1" && c.Node.Index == 1 && c.Node.IP.String() == "172.24.0.1" && c.Node.MAC.String() == "02:4c:ac:18:00:01",
		"underlay":  c.Underlay.Interface == "eth0" && c.Underlay.Address.String() == "192.0.2.1",
		"uplink":    c.Uplink.Interface == "eth0" && c.Uplink.Address.String() == "192.0.2.1",
		"forwards":  len(c.Forwards.Addresses) == 1 && c.Forwards.Addresses[0] == c.Uplink.Address,
		"pool":      c.LAN.Pool.String() == "172.24.1.1-172.24.253.254",
		"deny":      len(c.Egress.Deny) == 9,
		"infra":     len(c.LAN.Infra) == 2 && c.LAN.Infra[0].String() == "172.24.0.0/24" && c.LAN.Infra[1].String() == "172.24.254.0/24",
		"dns":       len(c.DHCP.DNS) == 1 && c.DHCP.DNS[0] == c.LAN.Gateway && slices.Equal(c.DHCP.Search, []string{"webspace"}),
		"upstreams": slices.Equal(c.DNS.Upstreams, []string{"10.0.0.2", "198.51.100.53"}), // not the stub
		"names":     slices.Equal(c.DNS.Names, []string{"control=172.24.254.2", "ingress=172.24.0.254"}),
		"unchanged": c.LAN.VNI == 7331 && c.Underlay.Port == 4789,
	} {
		if !ok {
			t.Errorf("%s: %+v", what, c)
		}
	}
}

// Without a server of its own, the node hands on what webspaces can reach.
func TestResolveWithoutDNS(t *testing.T) {
	c := Default()
	c.DNS.Enabled = false
	c, warnings, err := c.Resolve(machine())
	if err != nil || len(warnings) != 0 || len(c.DHCP.DNS) != 1 || c.DHCP.DNS[0].String() != "198.51.100.53" || len(c.DHCP.Search) != 0 {
		t.Errorf("%+v %v %v", c.DHCP, warnings, err) // not the stub, not a denied one
	}
}

func TestWarnings(t *testing.T) {
	m := machine()
	m.nameservers, m.ephemeral = nil, "1024 65535"
	c, warnings, err := Default().Resolve(m)
	if err != nil || len(warnings) != 2 || c.DHCP.DNS[0] != c.LAN.Gateway {
		t.Errorf("%v %v", warnings, err)
	}
}

// What is printed can be read again and gives the same.
func TestPrintedIsReadAgain(t *testing.T) {
	c := Default()
	c.Peers.List = []Peer{{Name: "n2", VTEP: netip.MustParseAddr("192.0.2.2"), Forwards: []netip.Addr{netip.MustParseAddr("192.0.2.2")}, Foreign: true}}
	resolved, _, err := func() (Config, []string, error) { c.Node.Index = 3; return c.Resolve(machine()) }()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []Config{c, resolved} {
		for _, comments := range []bool{false, true} {
			got, err := Parse(want.YAML(comments), Sources{})
			if err != nil || !reflect.DeepEqual(normal(got), normal(want)) {
				t.Errorf("%v\n%s\n%+v", err, want.YAML(comments), got)
			}
		}
	}
}

// normal makes empty and missing lists the same.
func normal(c Config) Config {
	var walk func(v reflect.Value)
	walk = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				if v.Type().Field(i).IsExported() {
					walk(v.Field(i))
				}
			}
		case reflect.Slice:
			if v.Len() == 0 {
				v.SetZero()
			}
			for i := range v.Len() {
				walk(v.Index(i))
			}
		}
	}
	walk(reflect.ValueOf(&c).Elem())
	return c
}

// Every mistake is named together with what to do.
func TestMistakes(t *testing.T) {
	tests := []struct{ text, environ, flag, want string }{
		{text: "lan: {prefiks: 172.24.0.0/16}", want: "lan.prefix"},
		{text: "lna: {prefix: 172.24.0.0/16}", want: "lan.prefix"},
		{text: "vni: 7", want: "lan.vni"},
		{text: "lan: 5", want: "group of settings"},
		{text: "peers: {list: [{vtep: 192.0.2.2, indx: 2}]}", want: "peers.list[0].index"},
		{text: "peers: {list: [7]}", want: "peers.list[0]"},
		{text: "peers: {list: {vtep: 192.0.2.2}}", want: "peers.list"},
		{environ: "LANYARD_LAN_PREFX=172.24.0.0/16", want: "LANYARD_LAN_PREFIX"},
		{text: "lan: [", want: "cannot read the configuration file"},
		{text: "lan: {vni: many}", want: "lan.vni"},
		{text: "lan: {vni: -1}", want: "lan.vni"},
		{text: "lan: {vni: yes}", want: "lan.vni"},
		{text: "lan: {vni: 5000000000}", want: "lan.vni"},
		{text: "lan: {vni: 1.5}", want: "lan.vni"},
		{text: "lan: {vni: 16777216}", want: "lan.vni"},
		{text: "lan: {prefix: 172.24.0.0}", want: "lan.prefix"},
		{text: "lan: {prefix: 172.24.1.0/16}", want: "172.24.0.0/16"},
		{text: "lan: {prefix: 'fd00::/64'}", want: "lan.prefix"},
		{text: "lan: {gateway: 10.0.0.1}", want: "lan.gateway"},
		{text: "lan: {gateway_mac: 01:00:5e:00:00:01}", want: "lan.gateway_mac"},
		{text: "lan: {domain: 'a b'}", want: "lan.domain"},
		{text: "lan: {bridge: ../../x}", want: "lan.bridge"},
		{text: "lan: {vxlan: lanyard0}", want: "lan.vxlan"},
		{text: "lan: {mtu: 60}", want: "lan.mtu"},
		{text: "lan: {prefix: 10.0.0.0/24, gateway: 10.0.0.1}", want: "lan.infrastructure"},
		{text: "lan: {infrastructure: [10.0.0.0/8]}", want: "lan.infrastructure"},
		{text: "lan: {pool: 172.24.1.1}", want: "lan.pool"},
		{text: "lan: {pool: 172.24.2.1-172.24.1.1}", want: "lan.pool"},
		{text: "lan: {pool: 10.0.0.1-10.0.0.9}", want: "lan.pool"},
		{text: "node: {index: 254}", want: "node.index"},
		{text: "node: {name: 'a b'}", want: "node.name"},
		{text: "node: {name: 7}", want: "node.name"},
		{text: "node: {ip: 172.24.254.1}", want: "node.ip"},
		{text: "peers: {from: lxd}", want: "node.index"},
		{text: "peers: {from: nowhere}", want: "peers.from"},
		{text: "node: {index: 1}\npeers: {list: [{vtep: 192.0.2.1}]}", want: "this node"},
		{text: "node: {index: 1}\npeers: {list: [{vtep: 192.0.2.2, index: 1}]}", want: "this node"},
		{text: "node: {index: 1}\npeers: {list: [{vtep: 172.24.0.2}]}", want: "peers.list[0].vtep"},
		{text: "underlay: {xdp: maybe}", want: "underlay.xdp"},
		{text: "underlay: {interface: lanyard0}", want: "underlay.interface"},
		{text: "underlay: {address: 127.0.0.1}", want: "underlay.address"},
		{text: "underlay: {port: 20000}", want: "uplink.nat_ports"},
		{text: "node: {index: 1}\npeers: {from: lxd, port: 20000}", want: "peers.port"},
		{text: "node: {index: 1}\npeers: {from: lxd, port: 50000}", want: "peers.port"},
		{text: "uplink: {nat_ports: 30000-50000}", want: "uplink.nat_ports"},
		{text: "uplink: {nat_ports: 500-400}", want: "uplink.nat_ports"},
		{text: "uplink: {nat_ports: 20000-20100}", want: "uplink.nat_ports"},
		{text: "forwards: {addresses: [255.255.255.256]}", want: "forwards.addresses"},
		{text: "egress: {deny: ['::/0']}", want: "egress.deny"},
		{text: "lxd: {address: http://x}", want: "lxd.address"},
		{text: "lxd: {address: 'https://192.0.2.1:8443'}", want: "lxd.client_cert"},
		{text: "lxd: {project: ../x}", want: "lxd.project"},
		{text: "lxd: {prefix: 9}", want: "lxd.prefix"},
		{text: "lxd: {resync: 10}", want: "unit"},
		{text: "dhcp: {lease: 1s}", want: "dhcp.lease"},
		{text: "dhcp: {dns: ['::1']}", want: "dhcp.dns"},
		{text: "dhcp: {search: ['a..b']}", want: "dhcp.search"},
		{text: "dns: {upstreams: [example.org]}", want: "dns.upstreams"},
		{text: "dns: {upstreams: [172.24.254.1]}", want: "dns.upstreams"},
		{text: "dns: {upstreams: ['tls://192.0.2.53#a..b']}", want: "dns.upstreams"},
		{text: "dns: {names: [a.b=172.24.0.9]}", want: "dns.names"},
		{text: "dns: {names: [a=192.0.2.9]}", want: "dns.names"},
		{text: "dns: {override: [example.org]}", want: "dns.override"},
		{text: "dns: {block: ['']}", want: "dns.block"},
		{text: "dns: {allow_rebind: [a b]}", want: "dns.allow_rebind"},
		{text: "dns: {ca: x.pem}", want: "dns.ca"},
		{text: "dns: {cache: 0}", want: "dns.cache"},
		{text: "dns: {timeout: 1ms}", want: "dns.timeout"},
		{text: "dns: {rate: -1}", want: "dns.rate"},
		{text: "dns: {open: 0}", want: "dns.open"},
		{text: "dns: {share: 5000}", want: "dns.share"},
		{text: "limits: {flows: 0}", want: "limits.flows"},
		{text: "timeouts: {udp: 0s}", want: "timeouts.udp"},
		{text: "metrics: {address: '0.0.0.0:9469'}", want: "metrics.address"},
		{text: "metrics: {address: '172.24.0.1:9469'}", want: "metrics.address"},
		{text: "metrics: {webspaces: 3}", want: "metrics.webspaces"},
		{text: "admin: {socket: run/x}", want: "admin.socket"},
		{text: "log: {level: loud}", want: "log.level"},
		{flag: "--lan-vni=x", want: "lan.vni"},
		{environ: "LANYARD_LAN_VNI=", want: "lan.vni"},
	}
	for _, test := range tests {
		t.Run(test.text+test.environ+test.flag, func(t *testing.T) {
			var args []string
			if test.flag != "" {
				args = append(args, test.flag)
			}
			c, err := Parse([]byte(test.text), Sources{Environ: []string{test.environ}, Flags: flags(t, args...)})
			if err == nil {
				_, _, err = c.Resolve(machine())
			}
			var e *Error
			if !errors.As(err, &e) || e.What == "" || e.Cause == "" || e.Next == "" {
				t.Fatalf("not an error in three parts: %v", err)
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v\ndoes not speak of %s", err, test.want)
			}
		})
	}
}

func TestNoDefaultRoute(t *testing.T) {
	m := machine()
	m.device = ""
	if _, _, err := Default().Resolve(m); err == nil || !strings.Contains(err.Error(), "ip route") {
		t.Error(err)
	}
	c := Default()
	c.Underlay.Interface, c.Uplink.Interface = "eth1", "eth2"
	if got, _, err := c.Resolve(m); err != nil || got.Uplink.Address != m.address {
		t.Error(err)
	}
}

func TestFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "c.yaml")
	if _, err := Load(Sources{File: name}); err == nil || !strings.Contains(err.Error(), name) {
		t.Error(err)
	}
	if err := os.WriteFile(name, []byte("log: {level: debug}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := Load(Sources{File: name}); err != nil || c.Log.Level != "debug" {
		t.Error(c.Log, err)
	}
	if _, err := Load(Sources{File: "/dev/zero"}); err == nil {
		t.Error("a device was read as a file")
	}
}

func TestPool(t *testing.T) {
	for prefix, want := range map[string]string{
		"172.24.0.0/16 172.24.254.1": "172.24.1.1-172.24.253.254",
		"10.0.0.0/8 10.0.0.254":      "10.0.1.1-10.255.255.254",
		"10.1.0.0/22 10.1.3.1":       "10.1.1.1-10.1.2.254",
	} {
		c := Default()
		p, g, _ := strings.Cut(prefix, " ")
		c.LAN.Prefix, c.LAN.Gateway = netip.MustParsePrefix(p), netip.MustParseAddr(g)
		if got, _, err := c.Resolve(machine()); err != nil || got.LAN.Pool.String() != want {
			t.Errorf("%s: %v, want %s; %v", prefix, got.LAN.Pool, want, err)
		}
	}
}

// Two keys must not have one name in the environment or as a flag.
func TestNamesAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range Keys() {
		if seen[k.Env] || seen[k.Flag] || k.Doc == "" || !strings.HasSuffix(k.Doc, ".") {
			t.Error(k)
		}
		seen[k.Env], seen[k.Flag] = true, true
	}
}

func TestEphemeral(t *testing.T) {
	tests := []struct {
		r               PortRange
		local, reserved string
		want            bool
	}{
		{PortRange{12000, 29999}, "32768 60999", "", false},
		{PortRange{12000, 40000}, "32768 60999", "", true},
		{PortRange{12000, 40000}, "32768 60999", "32768-50000", false},
		{PortRange{12000, 40000}, "32768 60999", "32768-39999", true},
		{PortRange{12000, 40000}, "32768 60999", "1,32768-39999,40000\n", false},
		{PortRange{12000, 40000}, "nonsense", "x", false},
	}
	for _, test := range tests {
		if got := ephemeral(test.r, test.local, test.reserved); got != test.want {
			t.Errorf("%+v: %v", test, got)
		}
	}
}

// FuzzConfig: no text makes the parser panic, what it accepts can be printed and read again, and what resolves is sane.
func FuzzConfig(f *testing.F) {
	f.Add([]byte("lan: {vni: 1}\nforwards: {addresses: [192.0.2.7]}\npeers: {from: lxd, list: [{vtep: 192.0.2.9}]}"), "LANYARD_DHCP_DNS=192.0.2.3")
	f.Add(Default().YAML(true), "LANYARD_PEERS_LIST=[{vtep: 192.0.2.2}]")
	f.Add([]byte("lan: {prefix: 10.0.0.0/8, gateway: 10.0.0.1}\nnode: {index: 253}"), "LANYARD_UPLINK_NAT_PORTS=5")
	f.Fuzz(func(t *testing.T, text []byte, environ string) {
		c, err := Parse(text, Sources{Environ: []string{environ}})
		if err != nil {
			if e, ok := errors.AsType[*Error](err); !ok || e.Next == "" {
				t.Fatalf("not in three parts: %v", err)
			}
			return
		}
		again, err := Parse(c.YAML(false), Sources{})
		if err != nil || !reflect.DeepEqual(normal(again), normal(c)) {
			t.Fatalf("%v\n%+v\n%+v", err, again, c)
		}
		r, _, err := c.Resolve(machine())
		if err != nil {
			return
		}
		if !r.LAN.Prefix.Contains(r.Node.IP) || r.Node.IP == r.LAN.Gateway || r.LAN.Prefix.Contains(r.Uplink.Address) ||
			r.Uplink.NATPorts.Overlaps(r.Forwards.Ports) || len(r.DHCP.DNS) == 0 {
			t.Fatalf("%+v", r)
		}
	})
}
