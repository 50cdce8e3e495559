package main

import (
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheHookTellsLXD(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, "unix.socket"))
	if err != nil {
		t.Fatal(err)
	}
	var asked []string
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.String())
		if strings.Contains(r.URL.Path, "ws-u2") {
			http.Error(w, `{"error":"its disk is full"}`, http.StatusInternalServerError)
			return
		}
		_, _ = w.Write([]byte(strings.Repeat(" ", 100_000) + `{"type":"sync"}`))
	})}
	go func() { _ = srv.Serve(l) }() // ends with srv
	defer srv.Close()

	if err := onStart([]string{dir, "default", "ws-u1", "start"}, ""); err != nil {
		t.Error(err)
	}
	if err := onStart([]string{"/nowhere", "web", "ws-u1", "start"}, filepath.Join(dir, "unix.socket")); err != nil {
		t.Error(err)
	}
	want := "GET /internal/containers/ws-u1/onstart?project=default GET /internal/containers/ws-u1/onstart?project=web"
	if got := strings.Join(asked, " "); got != want {
		t.Errorf("asked %s, want %s", got, want)
	}
	if err := onStart([]string{dir, "default", "ws-u2", "start"}, ""); err == nil || !strings.Contains(err.Error(), "disk is full") {
		t.Errorf("a refusal: %v", err)
	}
	for name, args := range map[string][]string{
		"no arguments":   nil,
		"another hook":   {dir, "default", "ws-u1", "stop"},
		"a strange name": {dir, "default", "../1.0", "start"},
		"nobody there":   {dir + "/x", "default", "ws-u1", "start"},
	} {
		if err := onStart(args, ""); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
