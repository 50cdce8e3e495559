package wake

import (
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/control/ledger"
	"github.com/lanyard-project/lanyard/dataplane"
	"github.com/lanyard-project/lanyard/webspace"
)

// set changes what LXD says about a webspace behind the engine's back.
func (w *world) set(b *box, s webspace.Status, ifindex int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b.target.Status, b.target.Ifindex = s, ifindex
}

func TestTheLifeFollowsLXD(t *testing.T) {
	run(t, Config{}, func(t *testing.T, w *world) {
		ws := w.add(1, box{})
		for _, c := range []struct {
			status  webspace.Status
			ifindex int
			want    dataplane.Life
		}{
			{webspace.Stopped, 0, dataplane.LifeAsleep}, {webspace.Running, 7, dataplane.LifeAwake}, {webspace.Frozen, 7, dataplane.LifeNapping},
			{webspace.Running, 7, dataplane.LifeAwake}, {"Stopping", 7, dataplane.LifeAwake}, {webspace.Stopped, 0, dataplane.LifeAsleep},
			{"Starting", 7, dataplane.LifeAsleep}, {webspace.Running, 7, dataplane.LifeAwake}, {webspace.Errored, 0, dataplane.LifeUnreachable},
			{webspace.Running, 7, dataplane.LifeAwake},
		} {
			w.set(ws, c.status, c.ifindex)
			w.look()
			if s := w.state(ws); s.Life != c.want {
				t.Errorf("LXD says %s: %s, want %s", c.status, s.Life, c.want)
			}
		}
	})
}

// A reading of LXD that began before the engine acted is older than what the engine knows.
func TestAnOldReadingChangesNothing(t *testing.T) {
	run(t, Config{}, func(t *testing.T, w *world) {
		ws := w.add(1, box{})
		w.look()
		before, stopped := time.Now(), ws.target
		w.send(ws, dataplane.TCP, client(1), webPort, "")
		time.Sleep(100 * time.Millisecond)
		if lives := w.e.Observe(before, []Target{stopped}); lives[stopped.Addr] != dataplane.LifeBooting {
			t.Errorf("while it boots: %v", lives)
		}
		time.Sleep(time.Second)
		if lives := w.e.Observe(before, []Target{stopped}); lives[stopped.Addr] != dataplane.LifeAwake {
			t.Errorf("after it has booted: %v", lives)
		}
	})
}

func TestOneThatIsDeleted(t *testing.T) {
	run(t, Config{}, func(t *testing.T, w *world) {
		ws, other := w.add(1, box{}), w.add(2, box{})
		w.look()
		w.send(ws, dataplane.TCP, client(1), webPort, "")
		time.Sleep(20 * time.Millisecond)
		w.mu.Lock()
		delete(w.boxes, ws.target.Name)
		w.mu.Unlock()
		w.look()
		time.Sleep(time.Minute)
		w.look()
		if s := w.e.States(); len(s) != 1 || s[0].Addr != other.target.Addr || w.e.held() != (totals{}) {
			t.Errorf("%+v", s)
		}
	})
}

// A daemon that died while a webspace booted leaves it booting in the maps.
func TestABootIsResumed(t *testing.T) {
	run(t, Config{}, func(t *testing.T, w *world) {
		ws := w.add(1, box{})
		w.mu.Lock()
		ws.answered, ws.began = map[uint16]bool{}, time.Now()
		ws.target.Status, ws.target.Ifindex = webspace.Running, 11
		w.pinned = dataplane.LifeBooting
		w.mu.Unlock()
		w.look()
		if s := w.state(ws); s.Life != dataplane.LifeBooting || s.Doing != ledger.Wake {
			t.Fatalf("%+v", s)
		}
		w.send(ws, dataplane.TCP, client(1), webPort, "")
		time.Sleep(time.Second)
		if s := w.state(ws); s.Life != dataplane.LifeAwake || len(w.got(&w.injected)) == 0 {
			t.Errorf("%+v", s)
		}
	})
}

// What is not for a webspace of this node, or is no beginning of anything, is counted and dropped.
func TestStrangeFrames(t *testing.T) {
	run(t, Config{}, func(t *testing.T, w *world) {
		ws := w.add(1, box{})
		w.look()
		f := packetTo(near, dataplane.TCP, client(1), webPort, "")
		w.frames <- f
		f = packetTo(ws.target.Addr, dataplane.TCP, client(1), webPort, "")
		f.Data[ethernet+leastIPv4+13] = flagACK
		w.frames <- f
		for n := range len(f.Data) {
			short := f
			short.Data = f.Data[:n]
			w.frames <- short
		}
		time.Sleep(time.Second)
		if st := w.e.Stats(); st.Strange != uint64(2+len(f.Data)) || w.starts(ws) != 0 {
			t.Errorf("%+v, %d starts", st, w.starts(ws))
		}
	})
}

// It goes down by itself: its interface is gone before LXD says so. What comes then boots it when it has stopped.
func TestAPacketWhileItPowersOff(t *testing.T) {
	run(t, Config{}, func(t *testing.T, w *world) {
		ws := w.add(1, box{})
		w.awake(ws)
		w.set(ws, webspace.Running, 0)
		w.look()
		w.send(ws, dataplane.TCP, client(7), webPort, "")
		if s := w.state(ws); s.Life != dataplane.LifeAwake || s.Held != 1 || w.starts(ws) != 1 {
			t.Fatalf("%+v", s)
		}
		w.set(ws, webspace.Stopped, 0)
		w.look()
		time.Sleep(time.Second)
		if s := w.state(ws); s.Life != dataplane.LifeAwake || s.Held != 0 || w.starts(ws) != 2 {
			t.Errorf("%+v after %d starts", s, w.starts(ws))
		}
	})
}

// Its interface is made anew (another MTU, say): what comes meanwhile is delivered by the new one.
func TestAPacketWithoutAnInterface(t *testing.T) {
	run(t, Config{}, func(t *testing.T, w *world) {
		ws := w.add(1, box{})
		w.awake(ws)
		w.set(ws, webspace.Running, 0)
		w.look()
		before := len(w.got(&w.injected))
		w.send(ws, dataplane.TCP, client(7), webPort, "")
		time.Sleep(10 * time.Millisecond)
		w.set(ws, webspace.Running, 99)
		w.look()
		got := w.got(&w.injected)
		if len(got) != before+1 || got[before].PeerPort != client(7).Port() || w.starts(ws) != 1 {
			t.Errorf("%d packets were sent on, %d starts", len(got)-before, w.starts(ws))
		}
	})
}
