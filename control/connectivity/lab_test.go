package connectivity_test

import (
	"context"
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/control/connectivity"
	"github.com/lanyard-project/lanyard/hack/lab"
)

// TestOnLab runs the command on real nodes: everything passes; with a broken network it says so; nothing is left.
func TestOnLab(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	l, err := lab.New(ctx, lab.Options{ID: "conntest", Nodes: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}()
	n1 := l.Node(1)
	if _, err := n1.Lanyard(ctx, "status", "--wait", "--json"); err != nil {
		t.Fatal(err)
	}

	stop, err := l.Server.Background("serve", "probe", "serve")
	if err != nil {
		t.Fatal(err)
	}
	defer stop()

	report, code := run(ctx, t, n1, "--outside", "198.51.100.10", "--outside", "198.51.100.10:7000")
	if code != 0 || !report.Good() || report.OK < 30 || report.Skipped > 0 {
		t.Errorf("on a sound network: exit code %d, %d ok, %d failed, %d skipped", code, report.OK, report.Failed, report.Skipped)
	}
	for _, o := range report.Outcomes {
		if o.Status != connectivity.OK {
			t.Errorf("%+v", o)
		}
	}
	clean(ctx, t, n1)

	// Without its VXLAN device a node has no slow path: broadcast does not reach the others. The short path goes on.
	if _, err := n1.Exec(ctx, "ip", "link", "set", "lanyard0-vx", "down"); err != nil {
		t.Fatal(err)
	}
	report, code = run(ctx, t, n1)
	if code != 3 || report.Failed == 0 || len(report.Leftovers) > 0 {
		t.Errorf("on a broken network: exit code %d, %d failed, leftovers %v", code, report.Failed, report.Leftovers)
	}
	for _, o := range report.Outcomes {
		if strings.HasPrefix(o.Name, "broadcast") && (o.Status != connectivity.Failed || o.Do == "") {
			t.Errorf("the broadcast: %+v", o)
		}
		if o.Name == "DHCP lease" && o.Status != connectivity.OK {
			t.Errorf("%+v", o)
		}
	}
	clean(ctx, t, n1)
}

func run(ctx context.Context, t *testing.T, n *lab.Node, args ...string) (connectivity.Report, int) {
	t.Helper()
	out, err := n.Lanyard(ctx, append([]string{"connectivity", "test", "--json"}, args...)...)
	code := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	var r connectivity.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("exit code %d: %v: %.300q", code, err, out)
	}
	return r, code
}

// clean: no webspace and no image of the test is left.
func clean(ctx context.Context, t *testing.T, n *lab.Node) {
	t.Helper()
	list, err := n.LXC(ctx, "list", "-f", "csv", "-c", "n")
	if err != nil || strings.TrimSpace(list) != "" {
		t.Errorf("webspaces are left: %q (%v)", list, err)
	}
	images, err := n.LXC(ctx, "image", "list", "-f", "csv", "-c", "d")
	if err != nil || strings.Contains(images, "connectivity") {
		t.Errorf("images are left: %q (%v)", images, err)
	}
}
