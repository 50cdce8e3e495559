package roles

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/lanyard-project/lanyard/control/node/config"
)

func TestLogger(t *testing.T) {
	var out bytes.Buffer
	for _, format := range []string{"text", "json"} {
		log, err := logger(config.Log{Level: "warn", Format: format}, &out)
		if err != nil {
			t.Fatal(err)
		}
		log.Info("hidden")
		log.With(slog.String("part", "x")).Warn("shown")
	}
	if bytes.Contains(out.Bytes(), []byte("hidden")) || bytes.Count(out.Bytes(), []byte("shown")) != 2 {
		t.Error(out.String())
	}
	if _, err := logger(config.Log{Level: "loud"}, &out); err == nil {
		t.Error("a level that does not exist")
	}
}

func TestPrintConfig(t *testing.T) {
	var out, errs bytes.Buffer
	cmd := Command("v1", &out, &errs)
	cmd.SetArgs([]string{"node", "--print-config", "--underlay-interface=lo", "--uplink-interface=lo", "--underlay-address=192.0.2.1", "--uplink-address=192.0.2.1", "--lan-vni=9"})
	if err := cmd.Execute(); err != nil || !strings.Contains(out.String(), "vni: 9\n") {
		t.Error(err, out.String())
	}
	for _, args := range [][]string{{"node", "--lan-vni=x"}, {"node", "--config=/nonexistent"}} {
		cmd := Command("v1", &out, &errs)
		cmd.SetArgs(args)
		err := cmd.Execute()
		var text bytes.Buffer
		Explain(&text, err)
		if err == nil || strings.Count(text.String(), "\n") != 3 || !strings.Contains(text.String(), "next:") {
			t.Errorf("%v: %v %s", args, err, &text)
		}
	}
}
