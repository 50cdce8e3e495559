package webspace

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	incus "github.com/lxc/incus/client"
	"github.com/lxc/incus/shared/api"
)

// Options say where LXD is, and which of its instances are webspaces.
type Options struct {
	// Address of LXD: the path of its unix socket (default /var/lib/lxd/unix.socket), or https://host:port.
	Address string
	// ServerCert is pinned: LXD's own certificate, PEM. ClientCert and ClientKey, PEM, are what LXD trusts. Only for https.
	ServerCert, ClientCert, ClientKey string

	Project  string   // default "default"
	Prefix   string   // of instance names, default "ws-": the webspace of uid 3 is ws-u3
	Profiles []string // of new instances, default ["default"]
	Pool     Pool     // default DefaultPool
	// Timeout of one request; default 30 s. A cluster that has just lost a member may need 20 s for its first answer.
	Timeout time.Duration
}

// DefaultSocket is where LXD listens.
const DefaultSocket = "/var/lib/lxd/unix.socket"

// Store is the webspaces of one LXD, standalone or cluster. It holds no connection and no copy: every method asks
// LXD, within its time limit. Safe for concurrent use.
type Store struct {
	o      Options
	socket string // path, when local
	url    string // base URL, when remote

	requests chan struct{}       // those under way
	allocate sync.Mutex          // held while addresses are chosen
	reserved map[netip.Addr]bool // chosen by creations that LXD does not know of yet
	// making has room for the one creation that LXD works on at a time. LXD 5.0 takes an instance whose ids it has not written down yet for
	// one whose ids begin at 0, and gives another that is made at that moment the ids after them, which are not root's
	// to give (findIdmap in lxd/instance/drivers/driver_lxc.go): it never starts.
	making  chan struct{}
	edits   edits // one writer of an instance at a time, here; LXD's ETag guards against others
	members keyed // the same for cluster members
}

// Connect makes a Store. It only checks the options; LXD need not be there yet.
func Connect(o Options) (*Store, error) {
	if o.Address == "" {
		o.Address = DefaultSocket
	}
	if o.Project == "" {
		o.Project = api.ProjectDefaultName
	}
	if o.Prefix == "" {
		o.Prefix = "ws-"
	}
	if len(o.Profiles) == 0 {
		o.Profiles = []string{"default"}
	}
	if !o.Pool.First.IsValid() && !o.Pool.Last.IsValid() {
		o.Pool = DefaultPool()
	}
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	if err := o.Pool.Validate(); err != nil {
		return nil, err
	}
	s := &Store{o: o, requests: make(chan struct{}, maxRequests), making: make(chan struct{}, 1)}
	switch {
	case strings.HasPrefix(o.Address, "/"):
		s.socket = o.Address
	case strings.HasPrefix(o.Address, "unix:"):
		s.socket = "/" + strings.TrimLeft(strings.TrimPrefix(o.Address, "unix:"), "/")
	default:
		u, err := url.Parse(o.Address)
		if err != nil || u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" {
			return nil, &Problem{
				What: fmt.Sprintf("%q is not the address of an LXD", o.Address), Cause: "it must be a socket path or https://host:port",
				Next: "correct the configuration", Kind: ErrInvalid,
			}
		}
		if o.ClientCert == "" || o.ClientKey == "" {
			return nil, &Problem{
				What: "LXD at " + o.Address + " cannot be used", Cause: "an https address needs a client certificate and key",
				Next: "make them with: openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-384 -nodes -subj /CN=lanyard " +
					"-days 3650 -out client.crt -keyout client.key; lxc config trust add client.crt", Kind: ErrInvalid,
			}
		}
		s.url = "https://" + u.Host
	}
	return s, nil
}

// Address is where this Store's LXD is, for messages.
func (s *Store) Address() string {
	if s.socket != "" {
		return s.socket
	}
	return s.url
}

// Pool is the range of addresses that it allocates from.
func (s *Store) Pool() Pool { return s.o.Pool }

// Name is the name of the instance of a member.
func (s *Store) Name(uid int) string { return instanceName(s.o.Prefix, uid) }

// Server asks LXD about itself.
func (s *Store) Server(ctx context.Context) (Server, error) {
	var info api.Server
	if _, err := s.get(ctx, "ask LXD about itself", "/1.0", nil, &info); err != nil {
		return Server{}, err
	}
	return Server{Name: info.Environment.ServerName, Clustered: info.Environment.ServerClustered, Version: info.Environment.ServerVersion,
		ShiftFS: info.Environment.KernelFeatures["shiftfs"] == "true"}, nil
}

// client makes a client that lives for one call. The library's own WithContext changes the client that it is called
// on, so one cannot be shared; and it keeps no connection alive, so making one costs nothing.
func (s *Store) client(ctx context.Context, userAgent string) (incus.InstanceServer, error) {
	args := &incus.ConnectionArgs{
		SkipGetServer: true, UserAgent: userAgent,
		TLSServerCert: s.o.ServerCert, TLSClientCert: s.o.ClientCert, TLSClientKey: s.o.ClientKey,
	}
	if s.socket != "" {
		return incus.ConnectIncusUnixWithContext(ctx, s.socket, args)
	}
	args.Proxy = func(*http.Request) (*url.URL, error) { return nil, nil }
	return incus.ConnectIncusWithContext(ctx, s.url, args)
}

const userAgent = "lanyard"

// maxRequests under way at once, the others wait: each costs two file descriptors, and LXD a goroutine. Far more than
// members that wait for an LXD which hangs can bring together within their rate limits.
const maxRequests = 1024

// request sends one request and waits for its answer, at most for the time limit.
func (s *Store) request(ctx context.Context, agent, what, method, path string, query url.Values, body any, etag string) (*api.Response, string, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	select {
	case s.requests <- struct{}{}:
		defer func() { <-s.requests }()
	case <-ctx.Done():
		return nil, "", s.failed(what, ctx.Err())
	}
	return s.requestWithin(ctx, s.o.Timeout, agent, what, method, path, query, body, etag)
}

func (s *Store) requestWithin(ctx context.Context, limit time.Duration, agent, what, method, path string, query url.Values, body any, etag string) (*api.Response, string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	c, err := s.client(ctx, agent)
	if err != nil {
		return nil, "", s.failed(what, err)
	}
	q := url.Values{"project": {s.o.Project}}
	for k, v := range query {
		q[k] = v
	}
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		resp, tag, err := c.RawQuery(method, path+"?"+q.Encode(), body, etag)
		if errors.Is(err, syscall.EAGAIN) && crowded(ctx, pause) {
			continue
		}
		if err != nil {
			return nil, "", s.failed(what, err)
		}
		return resp, tag, nil
	}
}

// crowded waits a little when more want to connect to a unix socket at once than its queue holds, which the kernel says at
// once and does not wait for (unix(7)). It is false when the time is over.
func crowded(ctx context.Context, pause time.Duration) bool {
	select {
	case <-time.After(pause/2 + rand.N(pause)):
		return true
	case <-ctx.Done():
		return false
	}
}

// get asks for path and decodes the answer.
func (s *Store) get(ctx context.Context, what, path string, query url.Values, into any) (etag string, err error) {
	resp, etag, err := s.request(ctx, userAgent, what, http.MethodGet, path, query, nil, "")
	if err != nil {
		return "", err
	}
	if err := json.Unmarshal(resp.Metadata, into); err != nil {
		return "", &Problem{What: what, Cause: "LXD's answer cannot be read: " + err.Error(), Next: "compare versions: lxd --version", Err: err}
	}
	return etag, nil
}

// operate sends a request that LXD works on in the background, and waits for the end of that work or of ctx. The end
// of ctx does not end LXD's work: id says which operation it was ("" when none was begun).
func (s *Store) operate(ctx context.Context, what, method, path string, query url.Values, body any, etag string) (id string, err error) {
	return s.operateShown(ctx, what, method, path, query, body, etag, nil)
}

func (s *Store) operateShown(ctx context.Context, what, method, path string, query url.Values, body any, etag string, show func(map[string]any)) (id string, err error) {
	if err := ctx.Err(); err != nil {
		return "", s.failed(what, err)
	}
	// Once sent it is LXD's: giving up before its answer would leave us not knowing what it has begun.
	resp, _, err := s.request(context.WithoutCancel(ctx), userAgent, what, method, path, query, body, etag)
	if err != nil {
		return "", err
	}
	op, err := resp.MetadataAsOperation()
	if err != nil || op.ID == "" {
		return "", &Problem{What: what, Cause: "LXD's answer is not an operation", Next: "compare versions: lxd --version", Err: err}
	}
	id = op.ID
	return id, s.follow(ctx, what, op, show)
}

// await waits for the end of an operation, and gives its error. What LXD has forgotten, because it was restarted, is
// ErrUnavailable: nobody can say how it ended.
func (s *Store) await(ctx context.Context, what string, op *api.Operation) error {
	return s.follow(ctx, what, op, nil)
}

// follow is await, and shows what LXD says of its progress.
func (s *Store) follow(ctx context.Context, what string, op *api.Operation, show func(map[string]any)) error {
	// LXD forgets an operation seconds after its end, so we are already waiting when it ends; the wait is cut in slices,
	// so that a daemon that died meanwhile is noticed, and progress is seen.
	slice := 10 * time.Second
	if show != nil {
		slice = time.Second
	}
	query := url.Values{"timeout": {strconv.Itoa(int(slice / time.Second))}}
	for !op.StatusCode.IsFinal() {
		if err := ctx.Err(); err != nil {
			return s.failed(what, err)
		}
		resp, _, err := s.requestWithin(ctx, slice+s.o.Timeout, userAgent, what, http.MethodGet,
			"/1.0/operations/"+url.PathEscape(op.ID)+"/wait", query, nil, "")
		if errors.Is(err, ErrNotFound) {
			return &Problem{What: "could not " + what, Cause: "LXD has been restarted meanwhile", Next: "look what became of it, and try again", Kind: ErrUnavailable, Err: errForgotten}
		}
		if err == nil {
			var now api.Operation
			if err = json.Unmarshal(resp.Metadata, &now); err == nil {
				*op = now
			}
		}
		if err != nil {
			return err
		}
		if show != nil && len(op.Metadata) > 0 {
			show(op.Metadata)
		}
	}
	if op.Err != "" {
		return s.failed(what, errors.New(op.Err))
	}
	return nil
}

// errForgotten: LXD knows nothing of an operation that it had begun.
var errForgotten = errors.New("the operation is forgotten")

// failed turns an error of the library into a *Problem with its kind.
func (s *Store) failed(what string, err error) error {
	p := &Problem{What: "could not " + what, Err: err}
	var netErr net.Error
	var opErr *net.OpError
	switch {
	case api.StatusErrorCheck(err, http.StatusNotFound):
		p.Kind, p.Next = ErrNotFound, "see what there is: lxc list"
	case api.StatusErrorCheck(err, http.StatusConflict):
		p.Kind = ErrExists
	case api.StatusErrorCheck(err, http.StatusPreconditionFailed):
		p.Kind = ErrConflict
	case api.StatusErrorCheck(err, http.StatusForbidden, http.StatusUnauthorized):
		p.Kind, p.Next = ErrRefused, "let LXD trust our certificate: lxc config trust add client.crt"
	case api.StatusErrorCheck(err, http.StatusBadRequest):
		p.Kind = ErrInvalid
	case api.StatusErrorCheck(err, http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusGatewayTimeout):
		p.Kind, p.Next = ErrUnavailable, "see which members are offline: lxc cluster list"
	case errors.Is(err, context.DeadlineExceeded):
		p.Kind, p.Cause, p.Next = ErrUnavailable, "LXD at "+s.Address()+" did not answer in time", "see whether it hangs: lxc list; systemctl status lxd"
	case errors.Is(err, context.Canceled):
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		p.Kind, p.Next = ErrUnavailable, "start it: systemctl start lxd"
	case errors.Is(err, fs.ErrPermission):
		p.Kind, p.Next = ErrRefused, "run as root, or as a member of the group lxd"
	case errors.As(err, &netErr), errors.As(err, &opErr):
		p.Kind, p.Next = ErrUnavailable, "see whether it runs: systemctl status lxd"
	case strings.Contains(err.Error(), "already exists"): // operations have no codes, only words
		p.Kind = ErrExists
	case strings.Contains(err.Error(), "already running"):
		p.Kind = ErrRunning
	case strings.Contains(err.Error(), "already stopped"), strings.Contains(err.Error(), "not running"), strings.Contains(err.Error(), "isn't running"):
		p.Kind = ErrNotRunning
	case strings.Contains(err.Error(), "is busy running a"), strings.Contains(err.Error(), "matching non-reusable operation"):
		p.Kind, p.Next = ErrConflict, "try again" // LXD's own lock: somebody starts, stops or changes it right now
	}
	return p
}
