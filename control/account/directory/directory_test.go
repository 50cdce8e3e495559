package directory

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/lanyard-project/lanyard/control/account"
)

func open(t *testing.T, inUse func(context.Context) ([]int, error)) (*Directory, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "members.db")
	d, err := Open(path, inUse)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d, path
}

func TestDirectory(t *testing.T) {
	d, path := open(t, nil)
	see := func(s Seen) error { _, err := d.See(t.Context(), s); return err }
	if err := see(Seen{Subject: "a", UID: 7, Username: "ada", Admin: true, SSHKeys: []string{"k"}}); err != nil {
		t.Fatal(err)
	}
	if err := see(Seen{Subject: "b", UID: 7, Username: "bob"}); !errors.Is(err, account.ErrInvalid) {
		t.Error("took a number:", err)
	}
	if err := see(Seen{Subject: "b", UID: 8, Username: "ada"}); !errors.Is(err, account.ErrInvalid) {
		t.Error("took a name:", err)
	}
	if err := see(Seen{Subject: "a", UID: 7, Username: "lovelace"}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.ByName("ada"); !errors.Is(err, account.ErrNotFound) {
		t.Error(err)
	}
	if err := see(Seen{Subject: "b", UID: 8, Username: "ada"}); err != nil {
		t.Error("a name that is free:", err)
	}
	d.Close()
	d, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for who, find := range map[string]func() (account.Identity, error){
		"name":   func() (account.Identity, error) { return d.ByName("lovelace") },
		"number": func() (account.Identity, error) { return d.ByUID(7) },
	} {
		if id, err := find(); err != nil || id.UID != 7 || id.Username != "lovelace" || id.Admin || len(id.SSHKeys) != 0 {
			t.Errorf("%s: %+v %v", who, id, err)
		}
	}
	if err := d.Remove(t.Context(), "lovelace"); err != nil {
		t.Fatal(err)
	}
	if err := d.Remove(t.Context(), "lovelace"); !errors.Is(err, account.ErrNotFound) {
		t.Error(err)
	}
	if list, err := d.List(t.Context()); err != nil || len(list) != 1 || list[0].UID != 8 {
		t.Errorf("%+v %v", list, err)
	}
	if _, err := d.See(t.Context(), Seen{Subject: "c", UID: 7, Username: "carl"}); err != nil {
		t.Error("a number that is free:", err)
	}
}

func TestChosenNumbers(t *testing.T) {
	d, _ := open(t, func(context.Context) ([]int, error) { return []int{1, 3}, nil })
	var wait sync.WaitGroup
	ids := make([]account.Identity, 40)
	for i := range ids {
		wait.Go(func() {
			var err error
			name := fmt.Sprintf("m%d", i/2) // each comes twice, at once
			if ids[i], err = d.See(t.Context(), Seen{Subject: name, Username: name}); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	seen := map[int]string{}
	for _, id := range ids {
		if holder, ok := seen[id.UID]; ok && holder != id.Username || id.UID == 1 || id.UID == 3 || id.UID == 0 {
			t.Errorf("%d for %s and %s", id.UID, id.Username, holder)
		}
		seen[id.UID] = id.Username
	}
	if len(seen) != 20 {
		t.Errorf("%d numbers", len(seen))
	}
	d.inUse = func(context.Context) ([]int, error) { return nil, errors.New("no LXD") }
	if _, err := d.See(t.Context(), Seen{Subject: "new", Username: "new"}); !errors.Is(err, account.ErrUnavailable) {
		t.Error(err)
	}
	if _, err := d.See(t.Context(), Seen{Subject: "m0", Username: "m0", Admin: true}); err != nil {
		t.Error("who has a number needs no LXD:", err)
	}
}
