package waketest

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lanyard-project/lanyard/control/api/wire"
	"github.com/lanyard-project/lanyard/control/keypair/keypairtest"
	"github.com/lanyard-project/lanyard/hack/lab"
)

// peerPort is where nodes answer each other.
const peerPort = 9470

// The API of one node knows what happened to a webspace of another, and says so while that one is away.
func TestTheAPIOfAnotherNode(t *testing.T) {
	ctx := testContext(t)
	s := asleep(t, ctx, n2, lab.WebspaceOptions{})
	stop, err := n1.Background("control", "lanyardd", "--role", "control", "--config", n1.ConfigFile(), "--accounts-path", filepath.Join(n1.Dir, "accounts.db"))
	must(t, err)
	defer stop()
	ask := func(what string) (code int, body string, err error) {
		out, err := n1.Exec(ctx, "curl", "-s", "--max-time", "30", "-w", "\n%{http_code}", "--unix-socket", "/run/lanyard/api.sock",
			fmt.Sprintf("http://api/v1/webspace/id:%d/%s", s.UID, what))
		if err != nil {
			return 0, "", err
		}
		body, last, _ := cutLast(strings.TrimSpace(out), "\n")
		_, err = fmt.Sscan(last, &code)
		return code, body, err
	}
	// wants waits for a status: daemons come and go.
	wants := func(want int, what string, into any) {
		t.Helper()
		must(t, lab.Eventually(ctx, limit, func() error {
			code, body, err := ask(what)
			if err == nil && code != want {
				err = fmt.Errorf("%s: %d %s", what, code, body)
			}
			if err == nil {
				err = json.Unmarshal([]byte(body), into)
			}
			return err
		}))
	}
	var before wire.WhyAwake
	wants(200, "why-awake", &before)
	if before.Status != wire.StatusAsleep {
		t.Errorf("before: %+v", before)
	}

	_, err = hello(ctx, shared.Client, external(n1, s.echo))
	must(t, err)
	open, err := dial(ctx, shared.Client, "tcp4", external(n1, s.echo))
	must(t, err)
	defer open.Close()
	_, err = banner(open)
	must(t, err)
	woken := func() {
		t.Helper()
		var page wire.WakePage
		must(t, lab.Eventually(ctx, limit, func() error { // it is written down a moment after the visitor was served
			page = wire.WakePage{}
			wants(200, "wakes", &page)
			if len(page.Wakes) == 0 {
				return fmt.Errorf("no wake of %s is known", s.Name)
			}
			return nil
		}))
		w := page.Wakes[len(page.Wakes)-1]
		if w.Kind != "wake" || w.Outcome != "ok" || w.Peer == nil || *w.Peer != lab.ClientAddr || w.Node == nil || *w.Node != n2.Name {
			t.Errorf("it was woken by %+v", w)
		}
	}
	woken()
	var why wire.WhyAwake
	wants(200, "why-awake", &why)
	if text := fmt.Sprint(why.Reasons); why.Status != wire.StatusAwake || !strings.Contains(text, lab.ClientAddr) {
		t.Errorf("why it is awake: %+v", why)
	}

	t.Log("its node's daemon is away, and comes back")
	must(t, n2.StopLanyardd(ctx))
	var problem wire.Error
	wants(503, "wakes", &problem)
	if problem.Code == nil || *problem.Code != "node-unavailable" || problem.What == nil || problem.Next == nil {
		t.Errorf("while it is away: %+v", problem)
	}
	wants(503, "why-awake", &problem)
	must(t, n2.StartLanyardd(ctx))
	woken()

	t.Log("the cluster gets another certificate")
	cert, key := filepath.Join(n1.Dir, "new.crt"), filepath.Join(n1.Dir, "new.key")
	keypairtest.Write(t, cert, key)
	_, err = n1.LXC(ctx, "cluster", "update-certificate", cert, key)
	must(t, err)
	must(t, os.Remove(key))
	wants(200, "why-awake", &why)
	woken()

	t.Log("nobody else is answered")
	if out, err := shared.Client.Exec(ctx, "curl", "-sk", "--max-time", "30", fmt.Sprintf("https://%s:%d/v1/node/woken", n2.Addr(), peerPort)); err == nil || out != "" {
		t.Errorf("a stranger on the underlay is answered: %q", out)
	}
	near := asleep(t, ctx, n1, lab.WebspaceOptions{})
	_, err = hello(ctx, shared.Client, external(n1, near.echo))
	must(t, err)
	for _, from := range []space{s, near} {
		for _, n := range shared.Nodes() {
			var r struct{ Peer string }
			if err := from.Probe(ctx, &r, "dial", "--timeout", "2s", fmt.Sprintf("%s:%d", n.Addr(), peerPort)); err == nil {
				t.Errorf("%s reaches the port of %s: %+v", from.Name, n.Name, r)
			}
		}
	}
	c, err := dial(ctx, n1.Namespace, "tcp4", net.JoinHostPort(n2.Addr(), fmt.Sprint(peerPort)))
	if err != nil {
		t.Fatalf("a node does not reach the port, so that nothing was shown: %v", err)
	}
	must(t, c.Close())
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return "", s, false
	}
	return s[:i], s[i+len(sep):], true
}
