package lab_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/hack/lab"
)

const gateway = "172.24.254.1"

// resolvConf is what DHCP tells a webspace, for clients that run with the node's files.
const resolvConf = "search webspace\nnameserver " + gateway + "\n"

// muslClient resolves names as a program of a distribution with musl does.
const muslClient = `#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
int main(int n, char **arg) {
	struct addrinfo hint = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *list;
	struct sockaddr_in a = {.sin_family = AF_INET};
	char text[256];
	for (int i = 1; i < n; i++) {
		if (inet_pton(AF_INET, arg[i], &a.sin_addr) == 1) {
			if (getnameinfo((void *)&a, sizeof a, text, sizeof text, 0, 0, NI_NAMEREQD)) return 1;
		} else {
			if (getaddrinfo(arg[i], 0, &hint, &list)) return 1;
			inet_ntop(AF_INET, &((struct sockaddr_in *)list->ai_addr)->sin_addr, text, sizeof text);
		}
		puts(text);
	}
}
`

// TestNames: every kind of client resolves a neighbour that is asleep on another node, the way back, and a name outside.
func TestNames(t *testing.T) {
	ctx := testContext(t, 5*time.Minute)
	asleep, err := shared.Node(2).AddWebspace(ctx, 61, lab.WebspaceOptions{Stopped: true})
	must(t, err)
	defer func() { must(t, asleep.Delete(ctx)) }()
	resync(t, ctx, shared.Node(1))
	o := asleep.IP.As4()
	back := fmt.Sprintf("%d.%d.%d.%d.in-addr.arpa", o[3], o[2], o[1], o[0])
	name, ip := asleep.Name+".webspace", asleep.IP.String()

	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o755))
	conf, musl := filepath.Join(dir, "resolv.conf"), filepath.Join(dir, "musl")
	must(t, os.WriteFile(conf, []byte(resolvConf), 0o644))
	must(t, os.WriteFile(musl+".c", []byte(muslClient), 0o644))
	if out, err := exec.CommandContext(ctx, "musl-gcc", "-static", "-o", musl, musl+".c").CombinedOutput(); err != nil {
		t.Fatalf("compile for musl: %v %s", err, out)
	}
	// here runs a program of the node as if it were the webspace's own, with the resolv.conf that DHCP would write.
	here := func(args ...string) []string {
		return append([]string{"unshare", "-m", "sh", "-c", `mount --bind "$0" /etc/resolv.conf && exec "$@"`, conf}, args...)
	}
	for _, c := range []struct {
		client string
		args   []string
		want   []string // each is in the output
	}{
		{"dig", []string{"dig", "+short", "@" + gateway, name, "A"}, []string{ip}},
		{"dig, back", []string{"dig", "+short", "@" + gateway, "-x", ip}, []string{name + "."}},
		{"dig, by TCP, outside", []string{"dig", "+tcp", "+short", "@" + gateway, "www.example.org"}, []string{lab.ServerAddr}},
		{"dig, unknown", []string{"dig", "@" + gateway, "ws-u999.webspace"}, []string{"status: NXDOMAIN", "SOA\tgateway.webspace."}},
		{"drill", []string{"drill", name, "@" + gateway}, []string{"rcode: NOERROR", ip}},
		{"drill, back", []string{"drill", "-t", "@" + gateway, back, "PTR"}, []string{name + "."}},
		{"drill, outside", []string{"drill", "www.example.org", "@" + gateway}, []string{lab.ServerAddr}},
		{"glibc", here("getent", "ahostsv4", asleep.Name), []string{ip}},
		{"glibc, back", here("getent", "hosts", ip), []string{name}},
		{"glibc, outside", here("getent", "ahostsv4", "www.example.org"), []string{lab.ServerAddr}},
		{"musl", here(musl, asleep.Name, ip, "www.example.org"), []string{ip, name, lab.ServerAddr}},
		{"the node", nil, []string{ip}},
	} {
		must(t, lab.Eventually(ctx, time.Minute, func() error {
			var out string
			var err error
			if c.args == nil {
				out, err = shared.Node(1).Exec(ctx, "dig", "+short", "@"+gateway, name)
			} else {
				out, err = onN1.InNetns(ctx, c.args...)
			}
			if missing := slices.IndexFunc(c.want, func(w string) bool { return !strings.Contains(out, w) }); err == nil && missing >= 0 {
				err = fmt.Errorf("no %q in %s", c.want[missing], out)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", c.client, err)
			}
			return nil
		}))
	}
	t.Run("busybox", func(t *testing.T) { // with the resolv.conf that its own DHCP client wrote
		for query, want := range map[string]string{name: ip, ip: name, "www.example.org": lab.ServerAddr} {
			wantLookup(t, ctx, onN1, want, "nslookup", query)
		}
	})
	t.Run("nothing leaks", func(t *testing.T) {
		count := func() string {
			out, err := onN1.InNetns(ctx, "dig", "+short", "@"+gateway, "count.example.org", "TXT")
			must(t, err)
			return out
		}
		before := count()
		for _, q := range []string{"ws-u998.webspace", "a.b.webspace", "77.77.24.172.in-addr.arpa", "ws-u998", "x.localhost"} {
			_, err := onN1.InNetns(ctx, "dig", "@"+gateway, q)
			must(t, err)
		}
		if after := count(); after != before {
			t.Errorf("the upstream was asked: %s, before %s", after, before)
		}
	})
	t.Run("a claim by DHCP changes nothing", func(t *testing.T) {
		_, err := onN1.Exec(ctx, "udhcpc", "-i", "eth0", "-n", "-q", "-t", "20", "-x", "hostname:"+onN2.Name, "-F", onN2.Name, "-s", "/etc/udhcpc.script")
		must(t, err)
		for query, want := range map[string]string{onN2.Name + ".webspace": onN2.IP.String(), onN1.Name + ".webspace": onN1.IP.String()} {
			out, err := onN1.InNetns(ctx, "dig", "+short", "@"+gateway, query)
			must(t, err)
			if strings.TrimSpace(out) != want {
				t.Errorf("%s is %s, want %s", query, out, want)
			}
		}
		out, err := onN1.InNetns(ctx, "dig", "+short", "@"+gateway, "-x", onN1.IP.String())
		must(t, err)
		if strings.TrimSpace(out) != onN1.Name+".webspace." {
			t.Errorf("the way back of %s is %s", onN1.IP, out)
		}
	})
}

// wantLookup waits until a client inside a webspace finds what it should.
func wantLookup(t *testing.T, ctx context.Context, w *lab.Webspace, want string, args ...string) {
	t.Helper()
	must(t, lab.Eventually(ctx, time.Minute, func() error {
		out, err := w.Exec(ctx, args...)
		if err == nil && !strings.Contains(out, want) {
			err = fmt.Errorf("no %q in %s", want, out)
		}
		if err != nil {
			return fmt.Errorf("%v: %w", args, err)
		}
		return nil
	}))
}
