package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/lanyard-project/lanyard/hack/lab"
	"github.com/lanyard-project/lanyard/webspace"
)

// demo is a transcript: what a person would type, and what they would see. Its own words start with "#".
type demo struct {
	out   io.Writer
	color bool
	lab   *lab.Lab
}

func (d *demo) say(format string, args ...any) {
	fmt.Fprintf(d.out, "\n%s\n", d.paint("36", "# "+strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "\n# ")))
}

func (d *demo) paint(code, s string) string {
	if !d.color {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// show runs a command on a machine of the lab, after printing it, and prints what it says.
func (d *demo) show(ctx context.Context, ns *lab.Namespace, line string) error {
	fmt.Fprintln(d.out, d.paint("1", ns.Name+"$ "+line))
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	out, err := ns.Exec(ctx, "/bin/sh", "-c", line)
	lines := bufio.NewScanner(strings.NewReader(out))
	for lines.Scan() {
		fmt.Fprintln(d.out, strings.TrimRight(lines.Text(), " "))
	}
	return err
}

const (
	webPort  = 50080
	echoPort = 50007
)

func runDemo(ctx context.Context, log *slog.Logger) (err error) {
	info, statErr := os.Stdout.Stat()
	tty := statErr == nil && info.Mode()&os.ModeCharDevice != 0
	d := &demo{out: os.Stdout, color: tty && os.Getenv("NO_COLOR") == ""}
	d.say("Three machines with LXD and lanyardd, a server and a client on \"the internet\" around them:\n" +
		"all of it in namespaces on this machine.")
	if d.lab, err = lab.New(ctx, lab.Options{ID: "demo", Nodes: 3, Control: true, Log: log}); err != nil {
		return err
	}
	defer func() {
		closeErr := d.lab.Close()
		if err == nil {
			err = closeErr
		}
		if err == nil {
			d.say("The lab is gone again; nothing is left. To keep one and look around: make lab")
		}
	}()
	for _, step := range []func(context.Context) error{d.webspaces, d.lan, d.outside, d.forward, d.kill, d.guard, d.member, d.status} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) webspaces(ctx context.Context) error {
	if _, err := d.lab.Server.Background("serve", "probe", "serve"); err != nil {
		return err
	}
	d.say("One webspace on each node: a full container. Its address and its ports are in its record in LXD.")
	for i, ports := range []webspace.Ports{nil, nil, {webPort: 80, echoPort: 7000}} {
		o := lab.WebspaceOptions{Ports: ports}
		if ports != nil {
			o.UDPPorts = webspace.Ports{echoPort: 7000}
		}
		if _, err := d.lab.Node(i+1).AddWebspace(ctx, i+1, o); err != nil {
			return err
		}
	}
	n1 := d.lab.Node(1).Namespace
	if err := d.show(ctx, n1, "lxc list -f compact -c nsL4"); err != nil {
		return err
	}
	return d.show(ctx, n1, "lxc config get ws-u3 user.lanyard")
}

// address finds a webspace's.
func (d *demo) address(ctx context.Context, name string) (string, error) {
	store, err := d.lab.Node(1).Store()
	if err != nil {
		return "", err
	}
	i, err := store.Get(ctx, name)
	return i.Record.Address.String(), err
}

func (d *demo) lan(ctx context.Context) error {
	to, err := d.address(ctx, "ws-u3")
	if err != nil {
		return err
	}
	d.say("They are one layer-2 network, across nodes:")
	if err := d.show(ctx, d.lab.Node(1).Namespace, "lxc exec ws-u1 -- ping -c 3 -i 0.2 "+to); err != nil {
		return err
	}
	return d.show(ctx, d.lab.Node(1).Namespace, "lxc exec ws-u1 -- arping -c 1 -I eth0 "+to)
}

func (d *demo) outside(ctx context.Context) error {
	d.say("Each node takes its own webspaces outside. The server sees the node's address:")
	return d.show(ctx, d.lab.Node(2).Namespace, "lxc exec ws-u2 -- wget -qO- http://"+lab.ServerAddr+"/")
}

func (d *demo) forward(ctx context.Context) error {
	d.say("From outside, a port of any node leads to the webspace; here it enters at n1, and ws-u3 is on n3.\n" +
		"The web server inside says whom it sees, and it sees the client itself:")
	n1 := d.lab.Node(1).Addr()
	if err := d.show(ctx, d.lab.Client, fmt.Sprintf("curl -s http://%s:%d/", n1, webPort)); err != nil {
		return err
	}
	return d.show(ctx, d.lab.Client, fmt.Sprintf("probe dial --proto udp %s:%d", n1, echoPort))
}

func (d *demo) kill(ctx context.Context) error {
	to, err := d.address(ctx, "ws-u3")
	if err != nil {
		return err
	}
	d.say("A ping every 5 ms, and a TCP stream from the client, while the daemons of n1 and n3 are killed and started again:")
	n1 := d.lab.Node(1)
	line := "lxc exec ws-u1 -- probe ping --count 1000 --interval 5ms " + to
	fmt.Fprintln(d.out, d.paint("1", "n1$ "+line+" &"))
	streamLine := fmt.Sprintf("probe stream --for 5s %s:%d", n1.Addr(), echoPort)
	fmt.Fprintln(d.out, d.paint("1", "client$ "+streamLine+" &"))
	type result struct {
		out string
		err error
	}
	pings, streams := make(chan result, 1), make(chan result, 1)
	go func() {
		out, err := n1.Exec(ctx, strings.Fields(line)...)
		pings <- result{out, err}
	}()
	go func() {
		out, err := d.lab.Client.Exec(ctx, strings.Fields(streamLine)...)
		streams <- result{out, err}
	}()
	time.Sleep(500 * time.Millisecond)
	for _, n := range []*lab.Node{n1, d.lab.Node(3)} {
		again := "lanyardd --role node"
		if n == n1 {
			again += ",control"
		}
		fmt.Fprintln(d.out, d.paint("1", n.Name+"$ kill -9 $(cat /run/lanyardd.pid); "+again+" &"))
		if err := n.KillLanyardd(ctx); err != nil {
			return err
		}
		if err := n.StartLanyardd(ctx); err != nil {
			return err
		}
	}
	p, s := <-pings, <-streams
	fmt.Fprint(d.out, p.out, s.out)
	if p.err != nil {
		return p.err
	}
	return s.err
}

func (d *demo) guard(ctx context.Context) error {
	d.say("A webspace cannot speak with another's address. What is refused is counted, with its reason:")
	victim, err := d.address(ctx, "ws-u2")
	if err != nil {
		return err
	}
	n1 := d.lab.Node(1).Namespace
	if err := d.show(ctx, n1, "lxc exec ws-u1 -- ip addr add "+victim+"/32 dev eth0"); err != nil {
		return err
	}
	// ping fails, as it should.
	if err := d.show(ctx, n1, "lxc exec ws-u1 -- ping -c 2 -W 1 -I "+victim+" 172.24.254.1 || true"); err != nil {
		return err
	}
	return d.show(ctx, n1, "lanyard status | sed -n '/^Drops/,$p'")
}

// member is what a member does, from an account to the first visitor.
func (d *demo) member(ctx context.Context) error {
	n1 := d.lab.Node(1).Namespace
	d.say("n1 also has the role control. An admin gives ada an account; she logs in and makes her webspace:")
	for _, line := range []string{
		"echo 'correct horse battery' | lanyardd account add ada --uid 100",
		"echo 'correct horse battery' | lanyard login --server http://127.0.0.1:8081 ada",
		"lanyard ws init tiny --no-password 2>/dev/null",
	} {
		if err := d.show(ctx, n1, line); err != nil {
			return err
		}
	}
	fmt.Fprintln(d.out, d.paint("1", "n1$ lanyard ws ports add 80"))
	port, err := n1.Exec(ctx, "lanyard", "ws", "ports", "add", "80")
	if err != nil {
		return err
	}
	port = strings.TrimSpace(port)
	fmt.Fprintln(d.out, port)
	if err := d.show(ctx, n1, "lanyard ws status"); err != nil {
		return err
	}
	d.say("It is asleep: it uses no memory, and has never run. The first visitor boots it, and merely waits a little longer:")
	curl := fmt.Sprintf("curl -s -w '%%{time_total} s\\n' http://%s:%s/", d.lab.Node(1).Addr(), port)
	for range 2 {
		if err := d.show(ctx, d.lab.Client, curl); err != nil {
			return err
		}
	}
	d.say("Why did it wake, and who are its neighbours?")
	for _, line := range []string{"lanyard ws why", "lanyard ws exec -- nslookup ws-u3.webspace"} {
		if err := d.show(ctx, n1, line); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) status(ctx context.Context) error {
	d.say("What the node knows (without its maps, which `lanyard status` shows as well):")
	return d.show(ctx, d.lab.Node(1).Namespace, "lanyard status | sed '/^Maps/,/^$/d; /^Drops/,$d'")
}
