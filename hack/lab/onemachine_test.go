package lab_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/hack/lab"
)

// TestOneMachine is the way of a new member on one machine that does everything (lanyardd --role node,control): an account, a
// login, a webspace, a port, the first visitor who boots it; then its daemon is killed, and at last the webspace is gone.
func TestOneMachine(t *testing.T) {
	t.Parallel() // with a lab of its own
	ctx := testContext(t, 5*time.Minute)
	l, err := lab.New(ctx, lab.Options{ID: extraID(os.Getpid()) + "o", Nodes: 1, BinDir: shared.BinDir(), Control: true})
	must(t, err)
	defer func() { must(t, l.Close()) }()
	n := l.Node(1)
	sh := func(line string) string {
		t.Helper()
		out, err := n.Exec(ctx, "/bin/sh", "-c", line)
		if err != nil {
			t.Fatalf("%s: %v\n%s\nlanyardd said:\n%s", line, err, out, n.LogTail("lanyardd"))
		}
		return strings.TrimSpace(out)
	}
	visit := func() string {
		t.Helper()
		port := sh("lanyard ws ports --json")
		var ports []struct{ External int }
		must(t, json.Unmarshal([]byte(port), &ports))
		if len(ports) != 1 {
			t.Fatalf("ports %s", port)
		}
		var out string
		// A forward is known to the node a moment after the API has answered.
		must(t, lab.Eventually(ctx, 90*time.Second, func() error {
			out, err = l.Client.Exec(ctx, "curl", "-s", "--max-time", "30", fmt.Sprintf("http://%s:%d/", n.Addr(), ports[0].External))
			return err
		}))
		return out
	}
	status := func() string {
		t.Helper()
		var s struct{ Status string }
		must(t, json.Unmarshal([]byte(sh("lanyard ws status --json")), &s))
		return s.Status
	}

	sh("echo 'correct horse battery' | lanyardd account add ada")
	sh("echo 'correct horse battery' | lanyard login --server http://127.0.0.1:8081 ada")
	if out := sh("lanyard whoami"); !strings.HasPrefix(out, "ada") {
		t.Errorf("who: %s", out)
	}
	sh("lanyard ws init " + lab.Tiny + " --no-password")
	sh("lanyard ws ports add 80")
	before := status()
	if out := visit(); !strings.Contains(out, lab.ClientAddr) {
		t.Errorf("the webspace saw %q, and not the client", out)
	}
	if after := status(); after == before {
		t.Errorf("it was %s, and is after a visit", after)
	}
	var wakes []struct{ Kind, Outcome, Cause string }
	out := sh("lanyard ws why --json")
	if err := json.Unmarshal([]byte(out), &wakes); err != nil || !strings.Contains(out, lab.ClientAddr) {
		t.Errorf("why: %v %s", err, out)
	}
	if out := sh("lanyard ws why"); !strings.HasPrefix(out, "TIME") || !strings.Contains(out, lab.ClientAddr) || !strings.Contains(out, "tcp/80") {
		t.Errorf("why: %s", out)
	}
	if out := sh("lanyard ws why-awake"); !strings.HasPrefix(out, "awake since ") {
		t.Errorf("why it is awake: %s", out)
	}
	config := strings.Fields(sh("lanyard ws config"))
	for _, want := range []string{"wake.policy any (the platform's)", "wake.allow nobody", "idle.napAfter never", "idle.sleepAfter never"} {
		if !strings.Contains(strings.Join(config, " "), want) {
			t.Errorf("config: %q is not in %q", want, config)
		}
	}
	if out := sh("lanyard ws exec -- nslookup ws-u1.webspace"); !strings.Contains(out, "172.24.") {
		t.Errorf("its own name: %s", out)
	}
	if out := sh("lanyard ws exec -- sh -c 'echo out; echo err >&2; exit 3' 2>/run/err; echo $?; cat /run/err"); out != "out\n3\nerr" {
		t.Errorf("exec: %q", out)
	}

	t.Log("put to sleep and killed: the next visitor is served all the same")
	sh("lanyard ws shutdown")
	must(t, n.KillLanyardd(ctx))
	must(t, n.StartLanyardd(ctx))
	if out := visit(); !strings.Contains(out, lab.ClientAddr) {
		t.Errorf("the webspace saw %q", out)
	}

	sh("lanyard ws delete --yes")
	if out := sh("lxc list -f csv -c n"); out != "" {
		t.Errorf("instances are left: %s", out)
	}
}
