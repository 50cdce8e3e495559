package webspace

import (
	"os/exec"
	"testing"
)

func TestDeadMaker(t *testing.T) {
	if me := newMaker(); dead(me) {
		t.Errorf("%s is this process", me)
	}
	c := exec.Command("sleep", "1000")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := processOf(c.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	other := "abc@" + p.String()
	if dead(other) {
		t.Errorf("%s lives", other)
	}
	later := p
	later.start += "1"
	if !dead("abc@" + later.String()) {
		t.Error("its number belongs to another process now, and it is not dead")
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait()
	if !dead(other) {
		t.Errorf("%s was killed", other)
	}
	elsewhere := p
	elsewhere.boot = "another"
	for _, unknown := range []string{"abc@" + elsewhere.String(), "abc", "abc@", "abc@///", "abc@1/2/x/4", "abc@" + p.String() + "/5"} {
		if dead(unknown) {
			t.Errorf("nothing can be known of %q", unknown)
		}
	}
}
