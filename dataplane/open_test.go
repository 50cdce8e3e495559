package dataplane

import (
	"testing"
)

func TestOpenApply(t *testing.T) {
	n := newNode(t)
	d := n.open()
	p1, e1, _ := n.webspace(1)
	p2, e2, _ := n.webspace(2)
	c, err := d.Apply(t.Context(), State{Ports: []Port{p1, p2}, Endpoints: []Endpoint{e1, e2}})
	t.Logf("%+v", c)
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.Status()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", s)
}
