package api_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/lanyard-project/lanyard/control/account"
	"github.com/lanyard-project/lanyard/control/api"
)

// operation is one of the document.
type operation struct {
	method, path string // with {parameters}
	open, admin  bool
}

// every operation of the document, read from the document.
func operations(t *testing.T) []operation {
	t.Helper()
	var all []operation
	var path, method string
	for line := range strings.SplitSeq(string(api.Document), "\n") {
		indent := len(line) - len(strings.TrimLeft(line, " "))
		word := strings.TrimSuffix(strings.TrimSpace(line), ":")
		switch {
		case indent == 2 && strings.HasPrefix(word, "/"):
			path = word
		case indent == 4 && path != "" && strings.Contains(" get post put patch delete ", " "+word+" "):
			method = strings.ToUpper(word)
			all = append(all, operation{method: method, path: "/v1" + path, open: true})
		case indent == 8 && word == "- jwt: []":
			all[len(all)-1].open = false
		case indent == 8 && word == "- jwt_admin: []":
			o := &all[len(all)-1]
			o.admin, o.open = o.open, false
		}
	}
	if len(all) < 40 {
		t.Fatalf("only %d operations", len(all))
	}
	return all
}

func (o operation) at(username string) string {
	query := ""
	if strings.HasSuffix(o.path, "/files") {
		query = "?path=/root/x"
	}
	return strings.NewReplacer("{username}", username, "{domain}", "example.com", "{ePort}", "50000", "{iPort}", "80", "{port}", "50000").Replace(o.path) + query
}

// Who may do what, for every operation: nothing is done, and nothing told, before it is known who asks.
func TestAuthentication(t *testing.T) {
	w := newWorld(t, nil)
	for _, who := range []string{"dev", "other", "admin"} {
		w.want("POST", "/v1/webspace/self", who, `{"image":"alpine"}`, 201, `{}`)
	}
	w.people.Token("secret-of-old", 3, account.ErrExpired)
	w.people.Token("secret-taken", 3, account.ErrRevoked)
	bodies := map[string]string{"POST": `{"image":"alpine"}`, "PATCH": `{"httpPort":81}`, "PUT": "x"}
	before := w.ask("GET", "/v1/webspaces", "admin", "").body
	for _, o := range operations(t) {
		if o.open {
			continue
		}
		body, self := bodies[o.method], o.at("self")
		for _, c := range []struct {
			auth, message string
			status        int
		}{
			{"", "token required for this endpoint", 401},
			{"Basic ZGV2Og==", "token required for this endpoint", 401},
			{"Bearer  ", "token required for this endpoint", 401},
			{"Bearer a b", "token required for this endpoint", 401},
			{"bearer token-dev", "token required for this endpoint", 401},
			{"Bearer garbage", "the token is not accepted", 401},
			{"Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiIzIiwiaXNfYWRtaW4iOnRydWV9.", "the token is not accepted", 401},
			{"Bearer " + strings.Repeat("x", 20<<10), "the token is not accepted", 401},
			{"Bearer secret-of-old", "your token has expired", 403},
			{"Bearer secret-taken", "your token was revoked", 403},
		} {
			w.want(o.method, self, c.auth, body, c.status, c.message)
		}
		if o.admin {
			w.want(o.method, self, "dev", body, 401, "only admin users can make use of this endpoint")
		}
		if !strings.Contains(o.path, "{username}") || o.admin {
			continue
		}
		// Another's webspace, one that does not exist, and one of nobody: all the same to a member.
		var told []string
		for _, name := range []string{"other", "id:4", "fresh", "nobody", "id:99", "id:", "id:-1", "id:03", "id:99999999999999999999", "SELF", "root", "%00", "a%2F.."} {
			// All that could tell the cases apart: the status, and the text.
			r := w.want(o.method, o.at(name), "dev", bodyOf(o, body), 403, "only admin users can make use of this endpoint")
			var e map[string]any
			_ = json.Unmarshal([]byte(r.body), &e)
			delete(e, "request")
			told = append(told, fmt.Sprint(e))
		}
		for _, text := range told {
			if text != told[0] {
				t.Errorf("%s %s tells members apart: %s / %s", o.method, o.path, text, told[0])
			}
		}
		// An admin learns what is there.
		for _, name := range []string{"nobody", "id:99", "id:x", "id:03", "id:-1", "id:99999999999999999999"} {
			w.want(o.method, o.at(name), "admin", bodyOf(o, body), 404, "user does not exist")
		}
	}
	if after := w.ask("GET", "/v1/webspaces", "admin", "").body; after != before {
		t.Errorf("something was changed:\n%s\n%s", before, after)
	}
	for token := range w.people.Tokens() {
		if strings.Contains(w.log.String(), token) {
			t.Error("a token is in the log:", token)
		}
	}
}

// bodyOf is one that the operation accepts, so that it is not refused for that.
func bodyOf(o operation, body string) string {
	switch {
	case strings.HasSuffix(o.path, "/exec") && o.method == "POST":
		return `{"command":"true"}`
	case strings.HasSuffix(o.path, "/files"):
		return "x"
	}
	return body
}

// The accounts are away: nobody is let in, and nobody is told that the token is bad.
func TestAccountsAway(t *testing.T) {
	w := newWorld(t, nil)
	w.people.Fail(&account.Error{What: "no answer", Kind: account.ErrUnavailable})
	r := w.want("GET", "/v1/webspace/self", "dev", "", 500, "the accounts cannot be reached at the moment")
	if r.Header.Get("Retry-After") == "" {
		t.Error(r.Header)
	}
	w.want("GET", "/v1/images", "", "", 200, `[{}]`)
}

// The webspace of an account that is gone can still be seen and deleted, by admins.
func TestOrphan(t *testing.T) {
	w := newWorld(t, nil)
	w.want("POST", "/v1/webspace/self", "dev", `{"image":"alpine"}`, 201, `{}`)
	w.want("GET", "/v1/webspace/id:77", "admin", "", 404, "user does not exist")
	if err := w.spaces.Rename(3, 77); err != nil {
		t.Fatal(err)
	}
	w.want("GET", "/v1/webspace/id:77", "admin", "", 200, `{"user":77}`)
	w.want("GET", "/v1/webspace/id:77/domains", "admin", "", 200, `[]`)
	w.want("DELETE", "/v1/webspace/id:77", "admin", "", 204, "")
}

func TestAccounts(t *testing.T) {
	w := newWorld(t, nil)
	w.want("GET", "/v1/users/self", "dev", "", 200, `{"id":3,"username":"dev","is_admin":false,"ssh_key":"ssh-ed25519 AAAA dev"}`)
	w.want("GET", "/v1/users/self/token", "dev", "", 204, "")
	for _, c := range [][2]string{{"dev", `{"password":"wrong"}`}, {"nobody", `{"password":"password-dev"}`}, {strings.Repeat("x", 300), `{"password":"x"}`}, {"dev", `{"password":"` + strings.Repeat("x", 2000) + `"}`}} {
		w.want("POST", "/v1/users/"+c[0]+"/login", "", c[1], 401, "incorrect password")
	}
	w.want("POST", "/v1/users/dev/login", "", `{"pass":"x"}`, 400, "failed to parse request body")
	w.want("POST", "/v1/users/dev/login", "", `{"password":"password-dev"}`, 200, `{"token":"login-dev","expires":"…"}`)
	w.want("GET", "/v1/users/self", "Bearer login-dev", "", 200, `{"id":3}`)
	w.want("DELETE", "/v1/users/other/login", "Bearer login-dev", "", 403, "only admin users can make use of this endpoint")
	w.want("DELETE", "/v1/users/dev/login", "admin", "", 400, "only the caller's own token can be revoked")
	w.want("DELETE", "/v1/users/self/login", "Bearer login-dev", "", 204, "")
	w.want("GET", "/v1/users/self", "Bearer login-dev", "", 403, "your token was revoked")
	log := w.log.String()
	if strings.Contains(log, "password-dev") || strings.Contains(log, "login-dev") {
		t.Error("a secret is in the log")
	}
	if !strings.Contains(log, "msg=audit action=login") || !strings.Contains(log, "outcome=password-wrong") {
		t.Error(log)
	}
}

// A browser cannot send the token in a header: it offers it as a subprotocol, from an origin that is allowed.
func TestBrowserSocket(t *testing.T) {
	w := newWorld(t, func(o *api.Options, _ *api.Listeners) { o.Origins = []string{"*", "https://panel.example.org"} })
	w.want("POST", "/v1/webspace/self", "dev", `{"image":"alpine"}`, 201, `{}`)
	carry := func(token string) []string {
		return []string{"lanyard.v1", "lanyard.bearer." + base64.RawURLEncoding.EncodeToString([]byte(token))}
	}
	for _, c := range []struct {
		origin    string
		protocols []string
		status    int
	}{
		{"https://panel.example.org", carry("token-dev"), 101},
		{w.url, carry("token-dev"), 101}, // of this host
		{"", carry("token-dev"), 101},
		{"https://evil.example", carry("token-dev"), 403},
		{"https://panel.example.org.evil.example", carry("token-dev"), 403},
		{"http://panel.example.org", carry("token-dev"), 403},
		{"null", carry("token-dev"), 403},
		{"https://panel.example.org", carry("garbage"), 401},
		{"https://panel.example.org", []string{"lanyard.v1", "lanyard.bearer.!!"}, 401},
		{"https://panel.example.org", []string{"lanyard.v1"}, 401},
	} {
		head := map[string][]string{}
		if c.origin != "" {
			head["Origin"] = []string{c.origin}
		}
		ctx := w.ctx()
		conn, resp, err := websocket.Dial(ctx, w.url+"/v1/webspace/self/console", &websocket.DialOptions{HTTPHeader: head, Subprotocols: c.protocols})
		if resp == nil || resp.StatusCode != c.status {
			t.Errorf("%+v: %v %v", c, resp, err)
		}
		if conn != nil {
			if conn.Subprotocol() != "lanyard.v1" {
				t.Errorf("%+v: subprotocol %q", c, conn.Subprotocol())
			}
			conn.CloseNow()
		}
	}
	if strings.Contains(w.log.String(), carry("token-dev")[1]) {
		t.Error("a token is in the log")
	}
}
