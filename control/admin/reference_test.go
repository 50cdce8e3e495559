package admin

import (
	"bytes"
	"os"
	"testing"
)

// TestReferenceIsCurrent keeps docs/reference/cli.md equal to the commands.
func TestReferenceIsCurrent(t *testing.T) {
	var want bytes.Buffer
	if err := WriteReference(&want); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../docs/reference/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Error("docs/reference/cli.md differs from the commands: go generate ./control/admin")
	}
}
