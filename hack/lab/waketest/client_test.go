package waketest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/lanyard-project/lanyard/control/node/nodeapi"
	"github.com/lanyard-project/lanyard/hack/lab"
)

// status is what a node says about waking.
func status(ctx context.Context, n *lab.Node) (nodeapi.Status, error) {
	var s nodeapi.Status
	out, err := n.Lanyard(ctx, "status", "--json")
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal([]byte(out), &s)
}

// state of a webspace, as its node says.
func (s space) state(ctx context.Context) (nodeapi.WakingState, error) {
	st, err := status(ctx, s.Node)
	if err != nil {
		return nodeapi.WakingState{}, err
	}
	for _, w := range st.Wake.Webspaces {
		if w.Webspace == s.Name {
			return w, nil
		}
	}
	return nodeapi.WakingState{}, fmt.Errorf("%s does not know %s", s.Node.Name, s.Name)
}

func (s space) life(ctx context.Context) (string, error) {
	w, err := s.state(ctx)
	return w.Life, err
}

// dial opens a connection from a machine of the lab: its socket belongs to that machine's network namespace.
func dial(ctx context.Context, from *lab.Namespace, network, to string) (c net.Conn, err error) {
	d := net.Dialer{}
	err = from.Do(func() error {
		var err error
		c, err = d.DialContext(ctx, network, to) // one literal address: it is done on this thread
		return err
	})
	return c, err
}

// hello opens a TCP connection to a webspace's echo, and returns the client's address as the webspace saw it.
func hello(ctx context.Context, from *lab.Namespace, to string) (string, error) {
	c, err := dial(ctx, from, "tcp4", to)
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(limit))
	return banner(c)
}

// banner reads "peer ADDR local ADDR".
func banner(r io.Reader) (string, error) {
	var text strings.Builder
	b := make([]byte, 256)
	for !strings.Contains(text.String(), "\n") {
		n, err := r.Read(b)
		if err != nil {
			return "", err
		}
		text.Write(b[:n])
	}
	var peer, local string
	if _, err := fmt.Sscanf(text.String(), "peer %s local %s\n", &peer, &local); err != nil {
		return "", fmt.Errorf("not a banner: %.80q", text.String())
	}
	host, _, err := net.SplitHostPort(peer)
	return host, err
}

// web is an HTTP client on a machine of the lab.
func web(from *lab.Namespace) *http.Client {
	return &http.Client{Timeout: limit, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, to string) (net.Conn, error) { return dial(ctx, from, "tcp4", to) },
	}}
}

// get fetches a page, and returns what it says.
func get(c *http.Client, url string) (string, error) {
	r, err := c.Get(url)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", r.Status, b)
	}
	return string(b), err
}

// push writes a file into a webspace that is stopped.
func (s space) push(ctx context.Context, to, text string) error {
	_, err := s.Node.Input(ctx, text, "lxc", "file", "push", "--mode", "0644", "-p", "-", s.Name+to)
	return err
}
