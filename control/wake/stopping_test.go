package wake

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lanyard-project/lanyard/control/ledger"
	"github.com/lanyard-project/lanyard/dataplane"
)

// Who comes while an admin stops a webspace waits, and wakes it when it has stopped.
func TestAWakeDuringAnAdminsStop(t *testing.T) {
	for name, c := range map[string]struct {
		came, stays bool // somebody comes meanwhile; it does not stop
		naps        bool
		life        dataplane.Life
		kinds       []ledger.Kind
	}{
		"nobody comes":              {life: dataplane.LifeAsleep, kinds: []ledger.Kind{ledger.Wake, ledger.Sleep}},
		"somebody comes":            {came: true, life: dataplane.LifeAwake, kinds: []ledger.Kind{ledger.Wake, ledger.Sleep, ledger.Wake}},
		"it does not stop":          {stays: true, life: dataplane.LifeAwake, kinds: []ledger.Kind{ledger.Wake, ledger.Sleep}},
		"it does not stop, and who": {stays: true, came: true, life: dataplane.LifeAwake, kinds: []ledger.Kind{ledger.Wake, ledger.Sleep}},
		"it naps":                   {naps: true, came: true, life: dataplane.LifeAwake, kinds: []ledger.Kind{ledger.Wake, ledger.Nap, ledger.Sleep, ledger.Wake}},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, Config{}, func(t *testing.T, w *world) {
				ws := w.add(1, box{stopping: 2 * time.Second})
				w.look()
				w.send(ws, dataplane.TCP, client(1), webPort, "")
				time.Sleep(time.Second)
				if c.naps {
					mustDo(t, w.e.Nap(context.Background(), ws.target.Addr, ledger.Cause{Via: ledger.Idle}))
				}
				if c.stays {
					ws.stopErr = errors.New("it does not want to")
				}
				before := len(w.got(&w.injected))
				w.shutDown(ws)
				w.shutDown(ws) // once more: nothing new
				time.Sleep(time.Second)
				if c.came {
					w.send(ws, dataplane.TCP, netip.AddrPortFrom(outside, 1234), webPort, "")
				}
				synctest.Wait()
				if n := len(w.got(&w.injected)); n != before || len(w.got(&w.refused)) != 0 {
					t.Errorf("it was asked %d times while it stops", n-before)
				}
				w.look() // a reading of LXD meanwhile changes nothing
				if s := w.state(ws); s.Life != dataplane.LifeBooting {
					t.Errorf("while it stops it is %+v", s)
				}
				time.Sleep(5 * time.Second)
				if s := w.state(ws); s.Life != c.life || s.Held != 0 || s.Doing != "" {
					t.Errorf("%+v", s)
				}
				if n := len(w.got(&w.injected)); c.came && n == before {
					t.Error("who came was not served")
				}
				var kinds []ledger.Kind
				for _, r := range w.ledger() {
					kinds = append(kinds, r.Kind)
					if r.Kind == ledger.Sleep && r.Cause.Via != ledger.Admin {
						t.Errorf("%+v", r)
					}
				}
				if len(kinds) != len(c.kinds) {
					t.Errorf("%v, want %v", kinds, c.kinds)
				}
			})
		})
	}
}
