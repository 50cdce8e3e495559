package webspaces

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/control/node/config"
	"github.com/lanyard-project/lanyard/webspace"
)

func TestOptions(t *testing.T) {
	c := config.Default()
	c.LAN.MTU = 1400
	c.Webspaces.InstanceConfig = []string{"limits.memory=512MiB", "user.note=a=b"}
	c.Webspaces.NapAfter = 5 * time.Minute
	o, err := Options(c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if o.InstanceConfig["limits.memory"] != "512MiB" || o.InstanceConfig["user.note"] != "a=b" || o.MTU != 1400 ||
		o.Defaults.StartupDelay != 3 || o.Defaults.Idle.NapAfter != 5*time.Minute || o.FirstPort != 49152 || o.MaxPorts != 64 {
		t.Errorf("%+v", o)
	}
	s, err := webspace.NewService(o)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.DefaultDomain("Alice"); got != "alice.webspace.localhost" {
		t.Error(got)
	}
	c.LXD.ServerCert = t.TempDir() + "/none"
	var e *config.Error
	if _, err := Options(c, nil); !errors.As(err, &e) || e.Next == "" {
		t.Error(err)
	}
}
