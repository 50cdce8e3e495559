package lab_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/lanyard-project/lanyard/hack/lab"
	"github.com/lanyard-project/lanyard/webspace"
)

// sshLogin makes a webspace with SSH, as a member does, and logs in from the Internet through the port that it was given:
// with the member's key, and with no other.
func sshLogin(t *testing.T) {
	const uid = 53
	ctx := testContext(t, 3*time.Minute)
	n := shared.Node(1)
	store, err := n.Store()
	must(t, err)
	s, err := webspace.NewService(webspace.ServiceOptions{Store: store, Domain: "example.net", MTU: 1450})
	must(t, err)
	keys := make([]ssh.Signer, 2)
	for k := range keys {
		_, private, err := ed25519.GenerateKey(nil)
		must(t, err)
		keys[k], err = ssh.NewSignerFromKey(private)
		must(t, err)
	}
	i, err := s.Create(ctx, webspace.CreateSpec{UID: uid, Image: lab.Debian, SSH: true, Node: n.Name, SSHKeys: []string{string(ssh.MarshalAuthorizedKey(keys[0].PublicKey()))}}, nil)
	must(t, err)
	defer func() { must(t, s.Delete(context.WithoutCancel(ctx), uid)) }()
	must(t, s.Boot(ctx, uid))
	port := 0
	for p := range i.Record.Ports {
		port = int(p)
	}
	login := func(key ssh.Signer) (out string, err error) {
		err = shared.Client.Do(func() error {
			// Nothing in here may change the thread: the namespace is this one's.
			c, err := (&net.Dialer{Timeout: 5 * time.Second}).Dial("tcp4", external(n, port))
			if err != nil {
				return err
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(20 * time.Second))
			conn, channels, requests, err := ssh.NewClientConn(c, "webspace", &ssh.ClientConfig{User: "root", Auth: []ssh.AuthMethod{ssh.PublicKeys(key)},
				HostKeyCallback: ssh.InsecureIgnoreHostKey()}) // which was made a moment ago
			if err != nil {
				return err
			}
			client := ssh.NewClient(conn, channels, requests)
			defer client.Close()
			session, err := client.NewSession()
			if err != nil {
				return err
			}
			b, err := session.CombinedOutput("id -u; hostname; echo $SSH_CONNECTION")
			out = string(b)
			return err
		})
		return out, err
	}
	var out string
	for end := time.Now().Add(90 * time.Second); ; time.Sleep(200 * time.Millisecond) { // until it has booted
		if out, err = login(keys[0]); err == nil || time.Now().After(end) {
			break
		}
	}
	must(t, err)
	want := []string{"0", i.Name, lab.ClientAddr}
	if got := strings.Fields(out); len(got) != 6 || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
		t.Errorf("logged in, and it says %q, not %q", out, want)
	}
	var network net.Error
	if out, err = login(keys[1]); err == nil || errors.As(err, &network) || !strings.Contains(err.Error(), "unable to authenticate") {
		t.Errorf("with another's key: %q, %v", out, err)
	}
}
