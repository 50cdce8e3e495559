package api

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/lanyard-project/lanyard/control/account"
	"github.com/lanyard-project/lanyard/control/api/routes"
	"github.com/lanyard-project/lanyard/webspace"
)

// Webspaces is what the API needs of *webspace.Service.
type Webspaces interface {
	Get(ctx context.Context, uid int) (webspace.Instance, error)
	List(ctx context.Context) ([]webspace.Instance, error)
	Cached() (list []webspace.Instance, at time.Time)
	Create(ctx context.Context, spec webspace.CreateSpec, progress func(webspace.Progress)) (webspace.Instance, error)
	Delete(ctx context.Context, uid int) error
	Images(ctx context.Context) ([]webspace.Image, error)

	Boot(ctx context.Context, uid int) error
	Reboot(ctx context.Context, uid int) error
	Shutdown(ctx context.Context, uid int) error
	Sync(ctx context.Context, uid int) error
	EnsureStarted(ctx context.Context, uid int) (netip.Addr, error)
	State(ctx context.Context, uid int) (webspace.State, error)
	Samples(ctx context.Context) ([]webspace.Sample, error)
	Watch(uid int) Changes

	PatchConfig(ctx context.Context, uid int, p webspace.ConfigPatch) (before, after webspace.Config, err error)
	AddPort(ctx context.Context, uid int, proto webspace.Proto, external, internal int) (int, error)
	RemovePort(ctx context.Context, uid int, proto webspace.Proto, external int) error
	DefaultDomain(username string) string
	AddDomain(ctx context.Context, uid int, domain string) error
	RemoveDomain(ctx context.Context, uid int, username, domain string) error

	ConsoleLog(ctx context.Context, uid int) ([]byte, error)
	ClearConsoleLog(ctx context.Context, uid int) error
	Exec(ctx context.Context, uid int, spec webspace.ExecSpec, streams webspace.Streams) (code int, err error)
	Console(ctx context.Context, uid, width, height int, streams webspace.Streams) error

	SFTP(ctx context.Context, uid int) (io.ReadWriteCloser, error)
	Stat(ctx context.Context, uid int, path string) (webspace.FileInfo, error)
	ReadDir(ctx context.Context, uid int, path string) ([]webspace.FileInfo, error)
	ReadFile(ctx context.Context, uid int, path string) (io.ReadCloser, webspace.FileInfo, error)
	WriteFile(ctx context.Context, uid int, path string, info webspace.FileInfo, content io.Reader) error
	MakeDir(ctx context.Context, uid int, path string, info webspace.FileInfo) error
	Remove(ctx context.Context, uid int, path string) error
}

// Changes are those of a webspace, see webspace.Subscription.
type Changes interface {
	Next(ctx context.Context) (webspace.Change, error)
	Close()
}

// Service is a *webspace.Service as Webspaces.
type Service struct{ *webspace.Service }

// Watch is webspace.Service.Watch.
func (s Service) Watch(uid int) Changes { return s.Service.Watch(uid) }

var _ Webspaces = Service{}

// Options of New. The zero values of times and sizes stand for the defaults that they name.
type Options struct {
	Webspaces Webspaces
	Accounts  account.Provider
	Wakes     Wakes // nil: nobody here knows about wakes
	Log       *slog.Logger

	Origins        []string       // of pages that may use the API, e.g. https://panel.example.org; "*": all, but not for websockets
	TrustedProxies []netip.Prefix // whose X-Forwarded-For is believed

	UserRate, UserBurst       int // requests of a member per second, and at once; 0: 20 and 200
	AddressRate, AddressBurst int // the same of an address, and before anybody is known; 0: 50 and 500
	UserStreams, Streams      int // open websockets and event streams of a member, and of all; 0: 32 and 1024

	WakeRule     webspace.WakeRule // of webspaces that have none of their own; zero: any
	Creations    int               // that LXD works on at once, the others wait; 0: 8
	MaxFile      int64             // bytes of a file that is written; 0: 4 GiB
	ReadTime     time.Duration     // of a request that changes nothing; 0: 30 s
	WriteTime    time.Duration     // of one that does; 0: 5 min. A creation has the webspaces' own bound
	ExecTime     time.Duration     // of a command without a websocket; 0: 10 min
	StallTime    time.Duration     // how long a client of a websocket may read nothing of what waits for it; 0: 15 min
	SampleEvery  time.Duration     // 0: 1 min
	SampleKeep   time.Duration     // at full resolution; 0: 2 h. After that a tenth is kept for a day
	Heartbeat    time.Duration     // of event streams; 0: 15 s
	RecheckEvery time.Duration     // whether who has an open stream may still have it; 0: 15 s
	ShutdownTime time.Duration     // until open requests are cut off at the end; 0: 10 s
}

// Server is the API. Make it with New and let it Serve.
type Server struct {
	o   Options
	log *slog.Logger

	handler http.Handler
	mux     *http.ServeMux // of the operations
	limits  *limits
	series  *series
	// LXD's database gives up when hundreds of creations want it at once.
	creations chan struct{}

	// Open streams end first; changes that were begun are finished without their client, but not without the server.
	open, background          context.Context
	endStreams, endBackground context.CancelFunc
	work                      sync.WaitGroup
}

// New makes a server. Nothing runs yet.
func New(o Options) *Server {
	for value, standard := range map[*time.Duration]time.Duration{
		&o.ReadTime: 30 * time.Second, &o.WriteTime: 5 * time.Minute, &o.ExecTime: 10 * time.Minute, &o.StallTime: 15 * time.Minute,
		&o.SampleEvery: time.Minute, &o.SampleKeep: 2 * time.Hour, &o.Heartbeat: 15 * time.Second, &o.RecheckEvery: 15 * time.Second, &o.ShutdownTime: 10 * time.Second,
	} {
		if *value <= 0 {
			*value = standard
		}
	}
	for value, standard := range map[*int]int{&o.UserRate: 20, &o.UserBurst: 200, &o.AddressRate: 50, &o.AddressBurst: 500,
		&o.UserStreams: 32, &o.Streams: 1024, &o.Creations: 8} {
		if *value <= 0 {
			*value = standard
		}
	}
	if o.MaxFile <= 0 {
		o.MaxFile = 4 << 30
	}
	if o.WakeRule.Policy == webspace.WakeDefault {
		o.WakeRule.Policy = webspace.WakeAny
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{o: o, log: o.Log, limits: newLimits(o), series: newSeries(o.SampleEvery, o.SampleKeep), creations: make(chan struct{}, o.Creations)}
	s.open, s.endStreams = context.WithCancel(context.Background())
	s.background, s.endBackground = context.WithCancel(context.Background())
	s.mux = http.NewServeMux()
	routes.HandlerWithOptions(operations{s}, routes.StdHTTPServerOptions{
		BaseURL: base, BaseRouter: s.mux,
		ErrorHandlerFunc: func(w http.ResponseWriter, r *http.Request, err error) { s.problem(w, r, badParameter(r, err)) },
	})
	s.pages()
	s.handler = s.chain()
	return s
}

// base of all operations of the document.
const base = "/v1"

// operations are the operations of the document; each is a method, in the file of its subject.
type operations struct{ *Server }

var _ routes.ServerInterface = operations{}

// Handler is the whole API, with everything beside it: /health, /swagger, /static/api.yaml.
func (s *Server) Handler() http.Handler { return s.handler }

// Close ends what requests have begun, and waits for that. Serve does it by itself.
func (s *Server) Close() {
	s.endStreams()
	s.endBackground()
	s.work.Wait()
}
