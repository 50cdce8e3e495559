package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/lanyard-project/lanyard/control/api"
)

// dial opens a websocket as a member, the way the seed's CLI does.
func (w *world) dial(path, member string) *websocket.Conn {
	w.t.Helper()
	c, resp, err := websocket.Dial(w.ctx(), w.url+"/v1/webspace/self/"+path, &websocket.DialOptions{HTTPHeader: map[string][]string{"Authorization": {"Bearer token-" + member}}})
	if err != nil {
		w.t.Fatal(err, resp)
	}
	c.SetReadLimit(-1)
	w.conns = append(w.conns, c)
	return c
}

func (w *world) send(c *websocket.Conn, kind websocket.MessageType, text string) {
	w.t.Helper()
	if err := c.Write(w.ctx(), kind, []byte(text)); err != nil {
		w.t.Fatal(err)
	}
}

// rest reads until the other side closes, and gives the output and how it closed.
func (w *world) rest(c *websocket.Conn) (out []byte, code websocket.StatusCode, reason string) {
	w.t.Helper()
	for {
		kind, b, err := c.Read(w.ctx())
		var closed websocket.CloseError
		switch {
		case errors.As(err, &closed):
			return out, closed.Code, closed.Reason
		case err != nil:
			w.t.Fatal(err)
		case kind != websocket.MessageBinary:
			w.t.Fatalf("a text message: %q", b)
		}
		out = append(out, b...)
	}
}

// until reads until the output ends with text.
func (w *world) until(c *websocket.Conn, text string) {
	w.t.Helper()
	var out []byte
	for !bytes.HasSuffix(out, []byte(text)) {
		_, b, err := c.Read(w.ctx())
		if err != nil {
			w.t.Fatalf("%v after %q", err, out)
		}
		out = append(out, b...)
	}
}

func argv(words ...string) string {
	b, _ := json.Marshal(map[string]any{"command": words, "width": 80, "height": 24})
	return string(b)
}

func sessions(t *testing.T) *world {
	w := newWorld(t, nil)
	w.want("POST", "/v1/webspace/self", "dev", `{"image":"alpine"}`, 201, `{}`)
	return w
}

func TestExecEnds(t *testing.T) {
	w := sessions(t)
	for command, code := range map[string]string{"true": "0", "exit 7": "7", "exit 255": "255", "kill -TERM $$": "143"} {
		c := w.dial("exec", "dev")
		w.send(c, websocket.MessageText, argv("sh", "-c", "echo out; echo err >&2; "+command))
		out, status, reason := w.rest(c)
		if string(out) != "out\nerr\n" || status != websocket.StatusNormalClosure || reason != code {
			t.Errorf("%s: %q %d %q", command, out, status, reason)
		}
	}
}

func TestExecFailures(t *testing.T) {
	w := sessions(t)
	for first, text := range map[string]string{
		"":                                    "failed to parse request body",
		"{":                                   "failed to parse request body",
		`{"command":["sh"],"x":1}`:            "failed to parse request body",
		`{"command":[],"width":1,"height":1}`: "it needs a command",
		`{"command":["sh"],"width":-1,"height":70000}`:                                           "the width and height of a terminal",
		`{"command":["sh"],"width":1,"height":1,"user":-1}`:                                      "user must not be negative",
		`{"command":["sh"],"width":1,"height":1,"group":-1}`:                                     "group must not be negative",
		`{"command":["sh"],"width":1,"height":1,"environment":{"a=b":"c"}}`:                      "the name of a variable",
		`{"command":["sh","\u0000"],"width":1,"height":1}`:                                       "zero octet",
		`{"command":["/no/such/program-` + strings.Repeat("é", 100) + `"],"width":1,"height":1}`: "could not run a command",
	} {
		c := w.dial("exec", "dev")
		w.send(c, websocket.MessageText, first)
		if out, status, reason := w.rest(c); len(out) != 0 || status != websocket.StatusInternalError || !strings.Contains(reason, text) {
			t.Errorf("%s: %q %d %q", first, out, status, reason)
		}
	}
	c := w.dial("exec", "dev")
	w.send(c, websocket.MessageBinary, argv("sh"))
	if _, status, reason := w.rest(c); status != websocket.StatusInternalError || !strings.Contains(reason, "must be text") {
		t.Error(status, reason)
	}
	for _, path := range []string{"exec", "console"} { // no webspace: said before the upgrade
		_, resp, err := websocket.Dial(w.ctx(), w.url+"/v1/webspace/self/"+path, &websocket.DialOptions{HTTPHeader: map[string][]string{"Authorization": {"Bearer token-fresh"}}})
		if err == nil || resp.StatusCode != 404 {
			t.Error(path, err)
		}
	}
}

// Input, resizing and signals reach the process, and what is wrong among them is passed over.
func TestExecControl(t *testing.T) {
	w := sessions(t)
	c := w.dial("exec", "dev")
	w.send(c, websocket.MessageText, argv("sh", "-c", "trap 'echo interrupted; exit 3' INT; echo ready; read line; echo got $line; while :; do read line; done"))
	w.until(c, "ready\n")
	w.send(c, websocket.MessageBinary, "hello\n")
	w.until(c, "got hello\n")
	for _, text := range []string{"", "{", "[]", `{"resize":{"width":0,"height":9}}`, `{"signal":-9}`, `{"signal":9000}`, `{"resize":{"width":1e9,"height":1}}`, `{"eof":true}`, `{"x":1}`} {
		w.send(c, websocket.MessageText, text)
	}
	w.send(c, websocket.MessageText, `{"resize":{"width":132,"height":43}}`)
	w.until(c, "size 132x43\n")
	w.send(c, websocket.MessageText, `{"signal":2,"resize":{"width":0,"height":0}}`)
	w.send(c, websocket.MessageBinary, "\n")
	out, status, reason := w.rest(c)
	if string(out) != "interrupted\n" || status != 1000 || reason != "3" {
		t.Errorf("%q %d %q", out, status, reason)
	}
}

// Without a terminal the streams are apart, and stdin has an end. 1 MiB goes through each way, complete.
func TestExecPipes(t *testing.T) {
	w := sessions(t)
	c := w.dial("exec", "dev")
	w.send(c, websocket.MessageText, `{"command":["sh","-c","tee /dev/stderr; exit 5"],"terminal":false}`)
	sent := make([]byte, 1<<20)
	for n := range sent {
		sent[n] = byte(n * 7 >> 3)
	}
	var wait sync.WaitGroup
	wait.Go(func() {
		for part := range 64 {
			if err := c.Write(w.ctx(), websocket.MessageBinary, sent[part<<14:(part+1)<<14]); err != nil {
				t.Error(err)
				return
			}
		}
		if err := c.Write(w.ctx(), websocket.MessageText, []byte(`{"eof":true}`)); err != nil {
			t.Error(err)
		}
	})
	streams := map[byte][]byte{}
	for {
		_, b, err := c.Read(w.ctx())
		var closed websocket.CloseError
		if errors.As(err, &closed) {
			if closed.Code != 1000 || closed.Reason != "5" {
				t.Error(closed)
			}
			break
		}
		if err != nil || len(b) == 0 {
			t.Fatal(err, b)
		}
		streams[b[0]] = append(streams[b[0]], b[1:]...)
	}
	wait.Wait()
	if len(streams) != 2 || !bytes.Equal(streams[1], sent) || !bytes.Equal(streams[2], sent) {
		t.Errorf("stdout %d, stderr %d of %d bytes", len(streams[1]), len(streams[2]), len(sent))
	}
}

// A client that goes takes the process with it, however it goes.
func TestExecClientGoes(t *testing.T) {
	w := sessions(t)
	for n, leave := range []func(*websocket.Conn){
		func(c *websocket.Conn) { c.CloseNow() },
		func(c *websocket.Conn) { _ = c.Close(websocket.StatusNormalClosure, "") },
	} {
		c := w.dial("exec", "dev")
		w.send(c, websocket.MessageText, argv("sh", "-c", "echo $$; while :; do sleep 1000; done"))
		_, b, err := c.Read(w.ctx())
		if err != nil {
			t.Fatal(err)
		}
		pid := strings.TrimSpace(string(b))
		leave(c)
		eventually(t, "the process ends", func() bool { return !alive(pid) })
		eventually(t, "it is in the log", func() bool { return strings.Count(w.log.String(), "client_left=true") == n+1 })
	}
	eventually(t, "no stream is left", func() bool { return strings.Count(w.log.String(), "msg=access") >= 3 })
}

// A client that reads nothing holds the process up, not our memory; and a process that reads nothing holds the client up.
// What is asserted holds at any moment; waiting until nothing moves only makes it worth asserting.
func TestSlowSidesDoNotGrowMemory(t *testing.T) {
	w := sessions(t)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	c := w.dial("exec", "dev")
	w.send(c, websocket.MessageText, argv("sh", "-c", "head -c 1073741824 /dev/zero"))
	d := w.dial("exec", "dev")
	w.send(d, websocket.MessageText, argv("sleep", "1000"))
	var sent atomic.Int64
	stopped := make(chan struct{})
	go func() { // ends when the connection does
		defer close(stopped)
		for part := make([]byte, 256<<10); d.Write(w.ctx(), websocket.MessageBinary, part) == nil; {
			sent.Add(int64(len(part)))
		}
	}()
	for last, still := int64(-1), 0; still < 10; time.Sleep(20 * time.Millisecond) {
		if now := sent.Load(); now != last {
			last, still = now, 0
		}
		still++
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if after.HeapAlloc > before.HeapAlloc+32<<20 {
		t.Errorf("%d MiB more are held", (after.HeapAlloc-before.HeapAlloc)>>20)
	}
	if sent.Load() > 64<<20 {
		t.Errorf("%d MiB were taken for a process that reads nothing", sent.Load()>>20)
	}
	d.CloseNow()
	c.CloseNow()
	select {
	case <-stopped:
	case <-time.After(limit):
		t.Fatal("the writer does not end")
	}
}

func TestConsole(t *testing.T) {
	w := sessions(t)
	c := w.dial("console", "dev")
	w.send(c, websocket.MessageText, `{"width":80,"height":24}`)
	w.until(c, "size 80x24\n")
	w.send(c, websocket.MessageBinary, "ls\r")
	w.until(c, "ls\r")
	w.send(c, websocket.MessageText, `{"width":0,"height":24}`)
	w.send(c, websocket.MessageText, `{"width":100,"height":50}`)
	w.until(c, "size 100x50\n")
	// There is one console at a time.
	second := w.dial("console", "dev")
	w.send(second, websocket.MessageText, `{"width":80,"height":24}`)
	if _, status, reason := w.rest(second); status != 1011 || !strings.Contains(reason, "the console is in use") {
		t.Error(status, reason)
	}
	_ = c.Close(websocket.StatusNormalClosure, "")
	eventually(t, "it can be attached again", func() bool {
		third := w.dial("console", "dev")
		defer third.CloseNow()
		w.send(third, websocket.MessageText, `{"width":80,"height":24}`)
		_, b, err := third.Read(w.ctx())
		return err == nil && string(b) == "size 80x24\n"
	})
	for _, first := range []string{`{"width":-1,"height":24}`, `{"width":80,"height":65536}`, "x"} {
		c := w.dial("console", "dev")
		w.send(c, websocket.MessageText, first)
		if _, status, _ := w.rest(c); status != 1011 {
			t.Errorf("%s: %d", first, status)
		}
	}
}

// The seed's CLI sends the size of its terminal as it is, and of one that has none, 0 and 0.
func TestTerminalsWithoutSize(t *testing.T) {
	w := sessions(t)
	for _, first := range []string{`{"command":["true"],"width":0,"height":0}`, `{"command":["true"]}`} {
		c := w.dial("exec", "dev")
		w.send(c, websocket.MessageText, first)
		if out, status, reason := w.rest(c); len(out) != 0 || status != websocket.StatusNormalClosure || reason != "0" {
			t.Errorf("%s: %q %d %q", first, out, status, reason)
		}
	}
	c := w.dial("console", "dev")
	w.send(c, websocket.MessageText, `{"width":0,"height":0}`)
	w.until(c, "size 0x0\n")
	w.send(c, websocket.MessageText, `{"width":0,"height":24}`)
	w.send(c, websocket.MessageText, `{"width":100,"height":50}`)
	w.until(c, "size 100x50\n")
}

// The server's end closes sessions in order, and waits for them.
func TestServerEnds(t *testing.T) {
	var pid string
	closed := make(chan websocket.StatusCode, 1)
	t.Run("world", func(t *testing.T) { // whose server ends with it
		w := sessions(t)
		c := w.dial("exec", "dev")
		w.send(c, websocket.MessageText, argv("sh", "-c", "echo $$; sleep 1000"))
		_, b, err := c.Read(w.ctx())
		if err != nil {
			t.Fatal(err)
		}
		pid = strings.TrimSpace(string(b))
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		go func() {
			defer cancel()
			_, _, err := c.Read(ctx)
			closed <- websocket.CloseStatus(err)
		}()
	})
	if status := <-closed; status != websocket.StatusGoingAway {
		t.Error("closed with", status)
	}
	if alive(pid) {
		t.Error("the process goes on without the server")
	}
}

func TestTooManySessions(t *testing.T) {
	w := newWorld(t, func(o *api.Options, _ *api.Listeners) { o.UserStreams = 2 })
	w.want("POST", "/v1/webspace/self", "dev", `{"image":"alpine"}`, 201, `{}`)
	a, b := w.dial("exec", "dev"), w.dial("exec", "dev")
	for _, path := range []string{"exec", "console"} {
		_, resp, err := websocket.Dial(w.ctx(), w.url+"/v1/webspace/self/"+path, &websocket.DialOptions{HTTPHeader: map[string][]string{"Authorization": {"Bearer token-dev"}}})
		if err == nil || resp.StatusCode != 429 || resp.Header.Get("Retry-After") == "" {
			t.Error(err, resp)
		}
	}
	w.want("GET", "/v1/webspace/self/events", "dev", "", 429, "too many")
	a.CloseNow()
	b.CloseNow()
	eventually(t, "there is room again", func() bool {
		return w.ask("POST", "/v1/webspace/self/exec", "dev", `{"command":"true"}`).StatusCode == 200
	})
}
