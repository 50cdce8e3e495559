package member

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lanyard-project/lanyard/control/api/wire"
)

// hostile is a webspace that says what it likes about its files.
type hostile map[string]any // path: text of a file, or []wire.FileEntry

func (h hostile) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch v := h[r.URL.Query().Get("path")].(type) {
	case string:
		w.Header().Set("X-Lanyard-Type", "file")
		w.Header().Set("X-Lanyard-Mode", "6777")
		_, _ = w.Write([]byte(v))
	case []wire.FileEntry:
		w.Header().Set("X-Lanyard-Type", "directory")
		w.Header().Set("X-Lanyard-Mode", "0755")
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	default:
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"message":"not found","code":"not-found"}`))
	}
}

// TestHostileFiles: nothing that a webspace says leads out of the folder that is copied to.
func TestHostileFiles(t *testing.T) {
	outside := t.TempDir()
	link := func(name, target string) wire.FileEntry {
		return wire.FileEntry{Name: name, Type: wire.TypeSymlink, Target: &target, Mode: "0777"}
	}
	file := func(name string) wire.FileEntry { return wire.FileEntry{Name: name, Type: wire.TypeFile, Mode: "0644"} }
	folder := func(name string) wire.FileEntry {
		return wire.FileEntry{Name: name, Type: wire.TypeDirectory, Mode: "0755"}
	}
	for name, h := range map[string]hostile{
		"up":       {"/d": []wire.FileEntry{file("../evil")}, "/d/../evil": "x", "/evil": "x"},
		"up twice": {"/d": []wire.FileEntry{file("..")}, "/d/..": "x", "/": "x"},
		"absolute": {"/d": []wire.FileEntry{file(outside + "/evil")}},
		"nothing":  {"/d": []wire.FileEntry{file("")}},
		"zero":     {"/d": []wire.FileEntry{file("a\x00b")}},
		"through a link to a folder": {"/d": []wire.FileEntry{link("l", outside), folder("l")},
			"/d/l": []wire.FileEntry{file("evil")}, "/d/l/evil": "x"},
		"through a link to above": {"/d": []wire.FileEntry{link("l", "../.."), folder("l")}, "/d/l": []wire.FileEntry{file("evil")}, "/d/l/evil": "x"},
		"folder without end":      {"/d": []wire.FileEntry{folder("d")}},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "folder without end" {
				for p := "/d"; len(p) < 2*(maxDepth+3); p += "/d" {
					h[p] = h["/d"]
				}
			}
			s := httptest.NewServer(h)
			defer s.Close()
			base := t.TempDir()
			into := filepath.Join(base, "into")
			if err := os.Mkdir(into, 0o755); err != nil {
				t.Fatal(err)
			}
			cmd := (&server{url: s.URL}).command(t, "ws", "cp", "-r", ":/d", into)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), "lanyard:") || strings.Contains(string(out), "panic") {
				t.Errorf("%v: %s", err, out)
			}
			for _, dir := range []string{outside, base} {
				list, err := os.ReadDir(dir)
				if err != nil || len(list) > 1 || dir == outside && len(list) > 0 {
					t.Errorf("in %s: %v %v", dir, list, err)
				}
			}
		})
	}
	s := httptest.NewServer(hostile{"/d": []wire.FileEntry{link("l", outside), file("l")}, "/d/l": "x"})
	defer s.Close()
	into := t.TempDir()
	out, err := (&server{url: s.URL}).command(t, "ws", "cp", "-r", ":/d", into).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	info, err := os.Lstat(filepath.Join(into, "d", "l"))
	if err != nil || info.Mode() != 0o777 { // a file in place of the link, without setuid
		t.Errorf("%v %v", info, err)
	}
}
