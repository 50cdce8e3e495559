package api_test

import (
	"strings"
	"testing"

	"github.com/lanyard-project/lanyard/control/api/apitest"
	"github.com/lanyard-project/lanyard/webspace"
)

// The contract of the seed system's API: every operation, with the codes and texts that its clients know.

func TestImages(t *testing.T) {
	w := newWorld(t, nil)
	w.want("GET", "/v1/images", "", "", 200, `[{"aliases":[{"name":"alpine","description":"Alpine"}],"fingerprint":"`+apitest.Fingerprint+`","properties":{"os":"Alpine"},"size":2528108}]`)
	w.spaces.Fail("", apitest.Unavailable())
	r := w.want("GET", "/v1/images", "", "", 500, "the webspaces cannot be reached at the moment")
	if r.Header.Get("Retry-After") == "" || strings.Contains(r.body, "secret") {
		t.Error(r.Header, r.body)
	}
}

func TestCreateGetDelete(t *testing.T) {
	w := newWorld(t, nil)
	const one = "/v1/webspace/self"
	w.want("GET", one, "dev", "", 404, "not found")
	for body, want := range map[string]string{
		"":                                 "failed to parse request body",
		"{":                                "failed to parse request body",
		"[]":                               "failed to parse request body",
		`"x"`:                              "failed to parse request body",
		`{"image":"alpine","x":1}`:         "failed to parse request body: json: unknown field",
		`{"image":"alpine"} {}`:            "failed to parse request body",
		`{"image":3}`:                      "failed to parse request body",
		`{}`:                               "it needs an image",
		`{"image":"alpine","ssh":"yes"}`:   "failed to parse request body",
		`{"image":"alpine","password":{}}`: "failed to parse request body",
	} {
		w.want("POST", one, "dev", body, 400, want)
	}
	w.want("POST", one, "fresh", `{"image":"alpine","ssh":true}`, 400, "user has no SSH public key")
	w.want("POST", one, "dev", `{"image":"nonesuch"}`, 404, "not found")
	w.want("POST", one, "dev", `{"image":"alpine","password":"hunter2\n","ssh":true}`, 201,
		`{"user":3,"config":{"startupDelay":3,"httpPort":80,"sniPassthrough":false},"domains":[],"ports":{"49152":22},"udpPorts":{},"address":"172.24.1.1"}`)
	w.want("POST", one, "dev", `{"image":"alpine"}`, 409, "already exists")
	w.want("POST", one, "other", `{"image":"`+apitest.Fingerprint+`"}`, 201, `{"user":4,"ports":{}}`)
	w.want("GET", one, "dev", "", 200, `{"user":3,"config":{"startupDelay":3,"httpPort":80,"sniPassthrough":false},"domains":[],"ports":{"49152":22}}`)
	for _, name := range []string{"dev", "id:3"} {
		w.want("GET", "/v1/webspace/"+name, "admin", "", 200, `{"user":3}`)
		w.want("GET", "/v1/webspace/"+name, "dev", "", 200, `{"user":3}`)
	}
	w.want("DELETE", "/v1/webspace/id:4", "admin", "", 204, "")
	w.want("DELETE", one, "dev", "", 204, "")
	w.want("DELETE", one, "dev", "", 404, "not found")
	if log := w.log.String(); strings.Contains(log, "hunter2") {
		t.Error("the password is in the log")
	}
}

func TestConfig(t *testing.T) {
	w := newWorld(t, nil)
	const path = "/v1/webspace/self/config"
	w.want("GET", path, "dev", "", 404, "not found")
	w.want("PATCH", path, "dev", "{}", 404, "not found")
	w.want("POST", "/v1/webspace/self", "dev", `{"image":"alpine"}`, 201, `{}`)
	w.want("GET", path, "dev", "", 200, `{"startupDelay":3,"httpPort":80,"sniPassthrough":false,"wake":{"default":{"policy":"any"}},"idle":{"napAfter":0,"sleepAfter":0,"oomSkip":false}}`)
	// The answer to a change is what was there before.
	w.want("PATCH", path, "dev", "{}", 200, `{"startupDelay":3,"httpPort":80,"sniPassthrough":false}`)
	w.want("PATCH", path, "dev", `{"httpPort":8080,"sniPassthrough":true}`, 200, `{"httpPort":80,"sniPassthrough":false}`)
	w.want("PATCH", path, "dev", `{"sniPassthrough":false,"startupDelay":0}`, 200, `{"startupDelay":3,"httpPort":8080,"sniPassthrough":true}`)
	w.want("GET", path, "dev", "", 200, `{"startupDelay":0,"httpPort":8080,"sniPassthrough":false}`)
	for _, body := range []string{`{"startupDelay":-1}`, `{"startupDelay":1e9}`, `{"httpPort":0}`, `{"httpPort":65536}`, `{"httpPort":-1}`,
		`{"idle":{"napAfter":-1}}`, `{"idle":{"sleepAfter":1e300}}`, `{"wake":{"policy":"sometimes"}}`, `{"wake":{"allow":["x"]}}`,
		`{"wake":{"forwards":{"tcp/0":{}}}}`, `{"wake":{"forwards":{"tcp/1":{"policy":"?"}}}}`} {
		w.want("PATCH", path, "dev", body, 400, "invalid value for configuration option")
	}
	for _, body := range []string{"", `{"foo":1}`, `{"httpPort":"80"}`, `{"httpPort":1e99}`, `null {}`, `{"wake":{"x":1}}`} {
		w.want("PATCH", path, "dev", body, 400, "failed to parse request body")
	}
	w.want("PATCH", path, "dev", `{"wake":{"policy":"allowlist","allow":["192.0.2.7","2001:db8::/32"],"forwards":{"tcp/50000":{"policy":"never"},"udp/50001":{"policy":"any"}}},"idle":{"napAfter":300,"sleepAfter":3600,"oomSkip":true}}`, 200, `{}`)
	w.want("PATCH", path, "dev", `{"wake":{"forwards":{"udp/50001":{"policy":"verified"}}}}`, 200, `{"wake":{"forwards":{"tcp/50000":{"policy":"never"}}}}`)
	// What the platform does is no setting, and is only shown where there is none.
	w.want("PATCH", path, "dev", `{"wake":{"default":{"policy":"never"}}}`, 200, `{"wake":{"policy":"allowlist"}}`)
	r := w.want("GET", path, "dev", "", 200, `{"wake":{"policy":"allowlist","allow":["192.0.2.7/32","2001:db8::/32"],"forwards":{"udp/50001":{"policy":"verified"}}},"idle":{"napAfter":300,"sleepAfter":3600,"oomSkip":true}}`)
	if strings.Contains(r.body, "tcp/50000") || strings.Contains(r.body, "default") {
		t.Error("a rule that is not named any more:", r.body)
	}
}

func TestState(t *testing.T) {
	w := newWorld(t, nil)
	const path = "/v1/webspace/self/state"
	for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
		w.want(method, path, "dev", "", 404, "not found")
	}
	w.want("POST", "/v1/webspace/self", "dev", `{"image":"alpine"}`, 201, `{}`)
	w.want("GET", path, "dev", "", 200, `{"running":false,"uptime":0,"usage":{"cpu":0,"disks":{"root":16777216},"memory":0,"processes":0},"networkInterfaces":{},"status":"asleep"}`)
	w.want("DELETE", path, "dev", "", 404, "not running")
	w.want("PUT", path, "dev", "", 404, "not running")
	w.want("POST", path, "dev", "", 204, "")
	w.want("POST", path, "dev", "", 409, "already running")
	w.want("GET", path, "dev", "", 200, `{"running":true,"uptime":32,"usage":{"cpu":685502875,"disks":{"root":16777216},"memory":10452992,"processes":8},"status":"awake",
	 "networkInterfaces":{"eth0":{"mac":"00:16:3e:34:9a:d4","mtu":1500,"state":"up","counters":{"bytesReceived":46897,"bytesSent":9910,"packetsReceived":122,"packetsSent":46},
	 "addresses":[{"family":"inet","address":"172.24.1.1","netmask":"16","scope":"global"}]}}}`)
	w.want("PUT", path, "dev", "", 204, "")
	w.want("PATCH", path, "dev", "", 204, "")
	w.want("DELETE", path, "dev", "", 204, "")
	for _, path := range []string{"/internal/", "/v1/internal/"} {
		w.want("POST", path+"id:3/ensure-started", "admin", "", 200, "172.24.1.1")
		w.want("POST", path+"id:9/ensure-started", "admin", "", 404, "user does not exist")
		w.want("POST", path+"other/ensure-started", "admin", "", 404, "not found")
		w.want("POST", path+"self/ensure-started", "dev", "", 401, "only admin users can make use of this endpoint")
		w.want("POST", path+"self/ensure-started", "", "", 401, "token required for this endpoint")
	}
}

func TestDomains(t *testing.T) {
	w := newWorld(t, nil)
	const path = "/v1/webspace/self/domains"
	w.want("GET", path, "dev", "", 404, "not found")
	w.want("POST", path+"/example.com", "dev", "", 404, "not found")
	for _, who := range []string{"dev", "other"} {
		w.want("POST", "/v1/webspace/self", who, `{"image":"alpine"}`, 201, `{}`)
	}
	w.want("GET", path, "dev", "", 200, `["dev.example.net"]`)
	w.want("POST", path+"/example.com", "dev", "", 400, "verification failed")
	w.spaces.TXT("example.com", "webspace:id:3")
	w.want("POST", path+"/Example.COM.", "dev", "", 204, "")
	w.want("POST", path+"/example.com", "dev", "", 409, "used by a webspace")
	w.want("POST", path+"/example.com", "other", "", 409, "used by a webspace")
	w.want("GET", path, "dev", "", 200, `["dev.example.net","example.com"]`)
	w.want("GET", "/v1/webspace/self", "dev", "", 200, `{"domains":["example.com"]}`)
	for _, bad := range []string{"/localhost", "/1.2.3.4", "/a%20b.com", "/" + strings.Repeat("a", 70) + ".com", "/..", "/%00.com", "/a%2Fb.com"} {
		if r := w.ask("POST", path+bad, "dev", ""); r.StatusCode != 400 && r.StatusCode != 404 && r.StatusCode != 301 && r.StatusCode != 307 {
			t.Errorf("%s: %d %s", bad, r.StatusCode, r.body)
		}
	}
	w.want("DELETE", path+"/dev.example.net", "dev", "", 400, "cannot remove the default domain")
	w.want("DELETE", path+"/example.org", "dev", "", 404, "not found")
	w.want("DELETE", path+"/EXAMPLE.com", "dev", "", 204, "")
	w.want("GET", path, "dev", "", 200, `["dev.example.net"]`)
}

func TestPorts(t *testing.T) {
	w := newWorld(t, nil)
	for _, kind := range []string{"ports", "udpPorts"} {
		path := "/v1/webspace/self/" + kind
		for _, step := range [][2]string{{"GET", ""}, {"POST", "/50000/80"}, {"POST", "/80"}, {"DELETE", "/50000"}} {
			w.want(step[0], path+step[1], "dev", "", 404, "not found")
		}
	}
	for _, who := range []string{"dev", "other"} {
		w.want("POST", "/v1/webspace/self", who, `{"image":"alpine"}`, 201, `{}`)
	}
	for _, kind := range []string{"ports", "udpPorts"} {
		path := "/v1/webspace/self/" + kind
		w.want("GET", path, "dev", "", 200, `{}`)
		w.want("POST", path+"/50000/80", "dev", "", 201, "")
		w.want("POST", path+"/50000/81", "dev", "", 409, "used by a webspace")
		w.want("POST", path+"/50000/80", "other", "", 409, "used by a webspace")
		w.want("POST", path+"/22", "dev", "", 201, `{"ePort":49152}`)
		w.want("GET", path, "dev", "", 200, `{"50000":80,"49152":22}`)
		for _, bad := range []string{"/0/80", "/80/80", "/65536/80", "/50001/0", "/50001/65536", "/x/80", "/50001/x", "/-1/80", "/50001/-1", "/99999999999999999999/1"} {
			w.want("POST", path+bad, "other", "", 400, "invalid port")
		}
		for _, bad := range []string{"/0", "/65536", "/x", "/-5", "/1e3"} {
			w.want("POST", path+bad, "other", "", 400, "invalid port")
			w.want("DELETE", path+bad, "other", "", 400, "invalid port")
		}
		w.want("DELETE", path+"/50000", "other", "", 404, "not found")
	}
	w.want("POST", "/v1/webspace/self/ports/80", "dev", "", 400, "port forward limit reached")
	w.want("DELETE", "/v1/webspace/self/ports/50000", "dev", "", 204, "")
	w.want("GET", "/v1/webspace/self/ports", "dev", "", 200, `{"49152":22}`)
	w.want("GET", "/v1/webspace/self/udpPorts", "dev", "", 200, `{"50000":80,"49152":22}`)
	w.want("DELETE", "/v1/webspace/self/udpPorts/50000", "dev", "", 204, "")
}

func TestLogAndExec(t *testing.T) {
	w := newWorld(t, nil)
	const path = "/v1/webspace/self/"
	w.want("GET", path+"log", "dev", "", 404, "not found")
	w.want("DELETE", path+"log", "dev", "", 404, "not found")
	w.want("POST", path+"exec", "dev", `{"command":"true"}`, 404, "not found")
	w.want("POST", "/v1/webspace/self", "dev", `{"image":"alpine","password":"x"}`, 201, `{}`)
	if r := w.want("GET", path+"log", "dev", "", 200, "password set\n"); !strings.HasPrefix(r.Header.Get("Content-Type"), "text/plain") {
		t.Error(r.Header)
	}
	w.want("DELETE", path+"log", "dev", "", 204, "")
	w.want("GET", path+"log", "dev", "", 200, "")
	w.want("POST", path+"exec", "dev", `{"command":"echo out; echo err >&2; exit 7"}`, 200, `{"stdout":"out\n","stderr":"err\n","exitCode":7}`)
	w.want("POST", path+"exec", "dev", `{"command":"kill -9 $$"}`, 200, `{"exitCode":137}`)
	for _, body := range []string{"", "{}", `{"command":""}`, `{"command":["x"]}`, `{"command":"a\u0000b"}`} {
		w.want("POST", path+"exec", "dev", body, 400, "")
	}
	r := w.want("POST", path+"exec", "dev", `{"command":"head -c 1048576 /dev/zero | tr '\\0' x; head -c 1048576 /dev/zero | tr '\\0' y >&2"}`, 200, `{"exitCode":0}`)
	if strings.Count(r.body, "x") < 1<<20 || strings.Count(r.body, "y") != 1<<20 {
		t.Error("output is missing")
	}
	w.want("POST", path+"exec", "dev", `{"command":"head -c 9000000 /dev/zero"}`, 413, "more than 4 MiB")
	// Not a websocket: the seed's text.
	w.want("GET", path+"exec", "dev", "", 400, "this endpoint supports websocket communication only")
	w.want("GET", path+"console", "dev", "", 400, "this endpoint supports websocket communication only")
}

func TestElsewhere(t *testing.T) {
	w := newWorld(t, nil)
	w.want("GET", "/v1/nothing", "dev", "", 404, "API endpoint not found")
	w.want("GET", "/", "", "", 404, "API endpoint not found")
	if r := w.want("PUT", "/v1/webspace/self", "dev", "", 405, "method not allowed on API endpoint"); r.Header.Get("Allow") != "DELETE, GET, HEAD, POST" {
		t.Error(r.Header)
	}
	w.want("DELETE", "/v1/images", "", "", 405, "method not allowed on API endpoint")
	for _, method := range []string{"GET", "HEAD", "POST"} {
		w.want(method, "/health", "Bearer garbage", "", 204, "")
	}
	if r := w.ask("GET", "/static/api.yaml", "", ""); r.StatusCode != 200 || !strings.Contains(r.body, "openapi: 3.1.0") {
		t.Error(r.Status)
	}
	if r := w.ask("GET", "/swagger/", "", ""); r.StatusCode != 200 || !strings.Contains(r.body, "/static/api.yaml") {
		t.Error(r.Status, r.body)
	}
	if r := w.ask("GET", "/swagger", "", ""); r.StatusCode != 301 {
		t.Error(r.Status)
	}
	w.want("POST", "/v1/webspace/self", "dev", `{"image":"`+strings.Repeat("x", 70<<10)+`"}`, 413, "the request is too large")
	w.want("GET", "/v1/webspace/"+strings.Repeat("x", 9000), "dev", "", 400, "the address is too long")
	w.spaces.Fail("", apitest.Unavailable())
	w.want("GET", "/health", "", "", 204, "") // a broken LXD is no reason to restart this
}

// An unreadable record fails alone, and says so to who asks.
func TestBrokenRecord(t *testing.T) {
	w := newWorld(t, nil)
	for _, who := range []string{"dev", "other"} {
		w.want("POST", "/v1/webspace/self", who, `{"image":"alpine"}`, 201, `{}`)
	}
	if err := w.spaces.Edit(3, func(i *webspace.Instance) {
		i.RecordErr = &webspace.Problem{What: "the record cannot be used", Kind: webspace.ErrInvalid, Next: "lxc config get"}
	}); err != nil {
		t.Fatal(err)
	}
	r := w.want("GET", "/v1/webspace/self", "dev", "", 500, "the record of this webspace cannot be used")
	if strings.Contains(r.body, "lxc") {
		t.Error(r.body)
	}
	w.want("GET", "/v1/webspace/self", "other", "", 200, `{"user":4}`)
	w.want("GET", "/v1/webspaces", "admin", "", 200, `{"webspaces":[{"user":3,"name":"ws-u3","status":"asleep","problem":"…"},{"user":4,"webspace":{"user":4}}]}`)
}
