package config

import (
	"os"
	"testing"
)

func TestReferenceIsCurrent(t *testing.T) {
	page, err := os.ReadFile("../../../docs/reference/config.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(page) != Reference() {
		t.Error("docs/reference/config.md is not what the code says; next: go generate ./control/node")
	}
}

func TestExample(t *testing.T) {
	c, err := Parse([]byte(Example), Sources{})
	if err != nil {
		t.Fatal(err)
	}
	r, _, err := c.Resolve(machine())
	if err != nil || len(r.Peers.List) != 2 || r.DNS.Upstreams[0] != "10.20.9.53" {
		t.Errorf("%+v %v", r, err)
	}
}
