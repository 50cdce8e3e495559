package main

import (
	"os"
	"strings"
	"testing"
)

func TestAPIReferenceIsCurrent(t *testing.T) {
	page, err := os.ReadFile("../../../docs/reference/admin-api.md")
	if err != nil {
		t.Fatal(err)
	}
	want, err := apiReference("../nodeapi")
	if err != nil {
		t.Fatal(err)
	}
	if string(page) != want {
		t.Error("docs/reference/admin-api.md is not what the code says; next: go generate ./control/node")
	}
	if strings.Contains(want, "| ? |") || strings.Contains(want, "|  |  |") {
		t.Error("a type has no name in the reference")
	}
}
