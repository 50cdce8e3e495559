package lxdtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/lanyard-project/lanyard/hack/lab"
	"github.com/lanyard-project/lanyard/webspace"
)

func files(t *testing.T, s *webspace.Service, _ *lab.Node) {
	const uid = 350
	ctx := t.Context()
	create(t, s, webspace.CreateSpec{UID: uid})
	content := make([]byte, 3<<20)
	rand.Read(content)
	read := func(name string) []byte {
		t.Helper()
		r, _, err := s.ReadFile(ctx, uid, name)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		var b bytes.Buffer
		if _, err := io.Copy(&b, r); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	for _, state := range []string{"stopped", "running", "napping"} {
		switch state {
		case "running":
			if err := s.Boot(ctx, uid); err != nil {
				t.Fatal(err)
			}
		case "napping":
			if err := s.Store().Freeze(ctx, s.Store().Name(uid)); err != nil {
				t.Fatal(err)
			}
		}
		dir := "/srv/" + state
		if err := s.MakeDir(ctx, uid, dir+"/a", webspace.FileInfo{Mode: 0o750, UID: 7, GID: 8}); err != nil {
			t.Fatal(err)
		}
		if err := s.WriteFile(ctx, uid, dir+"/a/big", webspace.FileInfo{Mode: 0o640, UID: 33, GID: 34}, bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(read(dir+"/a/big"), content) {
			t.Errorf("%s: not what was written", state)
		}
		info, err := s.Stat(ctx, uid, dir+"/a/big")
		if err != nil || info.Mode.Perm() != 0o640 || info.UID != 33 || info.GID != 34 || info.Size != int64(len(content)) {
			t.Errorf("%s: %+v, %v", state, info, err)
		}
		if err := s.WriteFile(ctx, uid, dir+"/a/big", webspace.FileInfo{}, strings.NewReader("new")); err != nil {
			t.Error(err)
		}
		if info, err = s.Stat(ctx, uid, dir+"/a/big"); err != nil || info.Mode.Perm() != 0o640 || info.UID != 33 || info.Size != 3 {
			t.Errorf("%s: replaced: %+v, %v", state, info, err)
		}
		list, err := s.ReadDir(ctx, uid, dir+"/a")
		if err != nil || len(list) != 1 || list[0].Name != "big" {
			t.Errorf("%s: %+v, %v", state, list, err)
		}
	}
	// A writer that fails leaves what was there, and nothing beside it.
	broken := errors.New("broken")
	if err := s.WriteFile(ctx, uid, "/srv/running/a/big", webspace.FileInfo{}, io.MultiReader(strings.NewReader("half"), failing{broken})); !errors.Is(err, broken) {
		t.Error(err)
	}
	if got := output(t, s, uid, "sh", "-c", "ls -a /srv/running/a; cat /srv/running/a/big"); got != ".\n..\nbig\nnew" {
		t.Errorf("%q", got)
	}
	// What the webspace's root has set up must not lead the daemon anywhere, nor hold it up.
	output(t, s, uid, "sh", "-c", "ln -s /etc/passwd /srv/link; ln -s loop /srv/loop; mkfifo /srv/pipe; ln -s /srv/running/a/big /srv/big")
	if got := read("/srv/link"); !strings.HasPrefix(string(got), "root:") || strings.Contains(string(got), "daemon:") {
		t.Errorf("a link leads to %q", got)
	}
	if err := s.WriteFile(ctx, uid, "/srv/big", webspace.FileInfo{}, strings.NewReader("through")); err != nil || string(read("/srv/running/a/big")) != "through" {
		t.Errorf("through a link: %v", err)
	}
	if info, err := s.Stat(ctx, uid, "/srv/big"); err != nil || info.Target != "/srv/running/a/big" {
		t.Errorf("%+v, %v", info, err)
	}
	for what, err := range map[string]error{
		"a pipe": third(s.ReadFile(ctx, uid, "/srv/pipe")), "a folder": third(s.ReadFile(ctx, uid, "/srv")), "write a folder": s.WriteFile(ctx, uid, "/srv", webspace.FileInfo{}, strings.NewReader("")),
		"write a pipe": s.WriteFile(ctx, uid, "/srv/pipe", webspace.FileInfo{}, strings.NewReader("")), "relative": third(s.ReadFile(ctx, uid, "etc/passwd")),
		"NUL": s.Remove(ctx, uid, "/a\x00b"),
	} {
		if !errors.Is(err, webspace.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := s.WriteFile(ctx, uid, "/srv/loop", webspace.FileInfo{}, strings.NewReader("")); err == nil {
		t.Error("a loop was followed")
	}
	if err := third(s.ReadFile(ctx, uid, "/none")); !errors.Is(err, webspace.ErrNotFound) {
		t.Error(err)
	}
	if err := s.Remove(ctx, uid, "/srv/link"); err != nil {
		t.Error(err)
	}
	if second(s.Stat(ctx, uid, "/srv/link")) == nil {
		t.Error("it is still there")
	}
	// A raw session ends with its context.
	short, cancel := context.WithCancel(ctx)
	conn, err := s.SFTP(short, uid)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := io.Copy(io.Discard, conn); err == nil {
		t.Log("LXD has closed it in order")
	}
	_ = conn.Close()
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func third[A, B any](_ A, _ B, err error) error { return err }
