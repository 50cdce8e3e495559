package reference

import (
	"os"
	"testing"
)

func TestReferenceIsCurrent(t *testing.T) {
	want, err := API()
	if err != nil {
		t.Fatal(err)
	}
	const file = "../../../docs/reference/api.md"
	got, err := os.ReadFile(file)
	if err != nil || string(got) != want {
		t.Errorf("docs/reference/api.md is not what the document says (%v); next: go generate ./control/api/...", err)
	}
}
