package apibench

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/lanyard-project/lanyard/control/account"
	"github.com/lanyard-project/lanyard/control/api"
	"github.com/lanyard-project/lanyard/control/api/apitest"
	"github.com/lanyard-project/lanyard/control/api/client"
	"github.com/lanyard-project/lanyard/hack/lab"
	"github.com/lanyard-project/lanyard/webspace"
)

// empty is the alias of an image with nothing in it: these webspaces are never started.
const empty = "empty"

// world is one LXD with an API over it, in this process.
type world struct {
	service *webspace.Service
	url     string
	http    *http.Client
	close   func() error
}

// build makes it. members have the uids from 1 on; their names are m1, m2, ...
func build(ctx context.Context, members int) (w *world, err error) {
	dir, err := os.MkdirTemp("", "lanyard-bench-api-")
	if err != nil {
		return nil, err
	}
	l, err := lab.New(ctx, lab.Options{Nodes: 1, NoDaemon: true, Dir: filepath.Join(dir, "lab")})
	if err != nil {
		return nil, err
	}
	w = &world{close: func() error { defer os.RemoveAll(dir); return l.Close() }}
	defer func() {
		if err != nil {
			_ = w.close()
		}
	}()
	file := filepath.Join(dir, "empty.tar")
	if err := os.WriteFile(file, image(), 0o600); err != nil {
		return nil, err
	}
	if err := l.ImportImage(ctx, file, empty); err != nil {
		return nil, err
	}
	store, err := webspace.Connect(webspace.Options{Address: fmt.Sprintf("/proc/%d/root/var/lib/lxd/unix.socket", l.Node(1).Pid), Timeout: 5 * time.Minute})
	if err != nil {
		return nil, err
	}
	w.service, err = webspace.NewService(webspace.ServiceOptions{Store: store, Domain: "example.net", CreateTime: 30 * time.Minute,
		// Each has ids of its own; 65,536 for each of a thousand are more than root has by Debian's default.
		InstanceConfig: map[string]string{"security.idmap.size": "4096"}})
	if err != nil {
		return nil, err
	}
	people := []account.Identity{{UID: members + 1, Username: "admin", Admin: true}}
	for n := range members {
		people = append(people, account.Identity{UID: n + 1, Username: fmt.Sprintf("m%d", n+1)})
	}
	s := api.New(api.Options{Webspaces: api.Service{Service: w.service}, Accounts: apitest.NewAccounts(people...), Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		UserRate: 1e6, UserBurst: 1e6, AddressRate: 1e6, AddressBurst: 1e6, ReadTime: 5 * time.Minute, SampleEvery: time.Hour})
	running, stop := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	listening, failed := make(chan net.Addr, 1), make(chan error, 1)
	parts.Go(func() { _ = w.service.Run(running) })
	parts.Go(func() {
		failed <- s.Serve(running, api.Listeners{Address: "127.0.0.1:0"}, func(a net.Addr) { listening <- a })
	})
	closeLab := w.close
	w.close = func() error { stop(); parts.Wait(); return closeLab() }
	select {
	case a := <-listening:
		w.url = "http://" + a.String() + "/v1"
	case err := <-failed:
		return nil, err
	}
	w.http = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}, Timeout: 30 * time.Minute}
	return w, nil
}

func (w *world) client(member string) (*client.ClientWithResponses, error) {
	return client.New(w.url, "token-"+member, client.WithHTTPClient(w.http))
}

// image is a container image in LXD's unified form, with an empty root.
func image() []byte {
	arch := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	meta := fmt.Sprintf("architecture: %s\ncreation_date: 1\nproperties: {os: none, description: empty}\n", arch)
	for _, h := range []*tar.Header{
		{Name: "metadata.yaml", Mode: 0o644, Typeflag: tar.TypeReg, Size: int64(len(meta)), ModTime: time.Unix(1, 0)},
		{Name: "rootfs/", Mode: 0o755, Typeflag: tar.TypeDir, ModTime: time.Unix(1, 0)},
	} {
		_ = w.WriteHeader(h) // into memory
		if h.Size > 0 {
			_, _ = w.Write([]byte(meta))
		}
	}
	_ = w.Close()
	return b.Bytes()
}
