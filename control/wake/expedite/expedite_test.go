package expedite

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestSwitch(t *testing.T) {
	dir := t.TempDir()
	file, mark := filepath.Join(dir, "rcu_expedited"), filepath.Join(dir, "mark")
	set := func(v string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(v), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	is := func(what, want string, marked bool) {
		t.Helper()
		b, err := os.ReadFile(file)
		if got := strings.TrimSpace(string(b)); err != nil || got != want {
			t.Errorf("%s: it is %q, want %q (%v)", what, got, want, err)
		}
		if _, err := os.Stat(mark); (err == nil) != marked {
			t.Errorf("%s: mark: %v", what, err)
		}
	}
	log := slog.New(slog.DiscardHandler)
	set("0\n")
	s := open(file, mark, log)
	first := s.Hurry(time.Minute)
	second := s.Hurry(time.Minute)
	is("two hurry", "1", true)
	first()
	first()
	is("one of them", "1", true)
	second()
	is("none", "0", false)

	// A limit.
	s.Hurry(time.Millisecond)
	for until := time.Now().Add(5 * time.Second); time.Now().Before(until); time.Sleep(time.Millisecond) {
		if _, err := os.Stat(mark); err != nil {
			break
		}
	}
	is("after the limit", "0", false)

	// Killed in the middle: the next one turns it off.
	s.Hurry(time.Minute)
	open(file, mark, log)
	is("after a kill", "0", false)

	// An admin's own setting stays.
	set("1\n")
	s = open(file, mark, log)
	s.Hurry(time.Minute)()
	is("an admin's", "1", false)
	if err := s.Problem(); err != nil {
		t.Error(err)
	}

	// A kernel without it, or a file system that cannot be written.
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	s = open(file, mark, log)
	s.Hurry(time.Minute)()
	if _, err := os.Stat(file); err == nil || s.Problem() == nil {
		t.Errorf("no such file: made %v, problem %v", err == nil, s.Problem())
	}
	set("0")
	s.Hurry(time.Minute)()
	if err := s.Problem(); err != nil {
		t.Errorf("it is there again: %v", err)
	}
}

// The kernel's own.
func TestKernelsSwitch(t *testing.T) {
	before, err := os.ReadFile(File)
	if err != nil {
		t.Fatal(err)
	}
	s := New(filepath.Join(t.TempDir(), "mark"), slog.New(slog.DiscardHandler))
	release := s.Hurry(time.Minute)
	during, err := os.ReadFile(File)
	release()
	after, failed := os.ReadFile(File)
	if err != nil || failed != nil || strings.TrimSpace(string(during)) == "0" || string(after) != string(before) || s.Problem() != nil {
		t.Errorf("before %q, during %q, after %q; %v, %v, %v", before, during, after, err, failed, s.Problem())
	}
}
