package agent

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/lanyard-project/lanyard/control/dns"
	"github.com/lanyard-project/lanyard/webspace"
)

// cacheVersion is raised when an older file must not be read any more.
const cacheVersion = 1

// saved is the content of the cache file: what a restarted daemon goes on with while LXD, or a part of the cluster,
// does not answer. It belongs in a folder that a reboot empties.
type saved struct {
	Version int
	Server  webspace.Server
	All     []webspace.Instance
	Members []webspace.Member
	Local   []webspace.Instance
}

// load reads the cache. No file is no error: there is just nothing known.
func (a *Agent) load() (known, error) {
	if a.c.Cache == "" {
		return known{}, nil
	}
	b, err := os.ReadFile(a.c.Cache)
	if os.IsNotExist(err) {
		return known{}, nil
	}
	if err != nil {
		return known{}, fmt.Errorf("read what was last known of LXD: %w", err)
	}
	var s saved
	if err := json.Unmarshal(b, &s); err != nil {
		return known{}, fmt.Errorf("read what was last known of LXD from %s: %w", a.c.Cache, err)
	}
	if s.Version != cacheVersion {
		return known{}, nil
	}
	for n, m := range s.Members {
		if m.Node.Index == 0 {
			s.Members[n].NodeErr = &webspace.Problem{What: "member " + m.Name + " said nothing about itself", Kind: webspace.ErrNotFound}
		}
	}
	a.written = b
	return known{server: s.Server, all: s.All, members: s.Members, haveAll: true, local: s.Local, haveOurs: true}, nil
}

// Recall gives what the cache makes of the name server's tables, for one that answers before LXD is asked: false if nothing
// is known. c is a Config for New.
func Recall(c Config) (records []dns.Record, nodes []netip.Addr, ok bool) {
	if err := c.check(); err != nil {
		return nil, nil, false // New says it
	}
	k, err := (&Agent{c: c}).load()
	if err != nil || !k.haveAll {
		return nil, nil, false // the agent says it
	}
	want := Build(c, View{Self: k.self(), Instances: k.instances(), Members: k.members})
	return want.Records, want.Nodes, true
}

// saveEvery bounds how often the cache is put together: with thousands of webspaces that takes as long as a pass. What
// is not in it yet LXD will say again; the timer brings the next pass.
const saveEvery = 2 * time.Second

// save writes the cache when it would differ: a new file, moved into place, so that a reader never sees half of it.
func (a *Agent) save(k known) error {
	if a.c.Cache == "" || !k.haveAll || !k.haveOurs {
		return nil
	}
	if a.unsaved = a.written != nil && time.Since(a.saved) < saveEvery; a.unsaved {
		return nil // the next pass is due soon, for this
	}
	a.saved = time.Now()
	s := saved{Version: cacheVersion, Server: k.server, All: usable(k.all), Local: usable(k.local)}
	for _, m := range k.members {
		if m.NodeErr != nil {
			m.Node, m.NodeErr = webspace.Node{}, nil
		}
		s.Members = append(s.Members, m)
	}
	b, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("keep what is known of LXD: %w", err)
	}
	if bytes.Equal(b, a.written) {
		return nil
	}
	f, err := os.CreateTemp(filepath.Dir(a.c.Cache), filepath.Base(a.c.Cache)+".*")
	if err != nil {
		return fmt.Errorf("keep what is known of LXD: %w", err)
	}
	defer os.Remove(f.Name()) // fails, as it should, after the rename
	_, err = f.Write(b)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), a.c.Cache)
	}
	if err != nil {
		return fmt.Errorf("keep what is known of LXD: %w", err)
	}
	a.written = b
	return nil
}

// usable leaves out instances without a good record: there is nothing to go on with.
func usable(list []webspace.Instance) []webspace.Instance {
	var out []webspace.Instance
	for _, i := range list {
		if i.RecordErr == nil {
			out = append(out, i)
		}
	}
	return out
}
