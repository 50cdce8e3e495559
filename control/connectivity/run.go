package connectivity

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"slices"
	"time"

	"github.com/lanyard-project/lanyard/control/node/nodeapi"
	"github.com/lanyard-project/lanyard/webspace"
)

// LXD is what the test needs of it; *webspace.Store has it.
type LXD interface {
	Server(ctx context.Context) (webspace.Server, error)
	Members(ctx context.Context) ([]webspace.Member, error)
	List(ctx context.Context) ([]webspace.Instance, error)
	Create(ctx context.Context, o webspace.CreateOptions) (webspace.Instance, error)
	Delete(ctx context.Context, name string) error
	Exec(ctx context.Context, name string, command []string) (webspace.ExecResult, error)
	ImportImage(ctx context.Context, tar io.Reader, properties map[string]string) (string, error)
	DeleteImage(ctx context.Context, fingerprint string) error
}

// Daemon is what the test needs of the local node; *nodeapi.Client has it.
type Daemon interface {
	Status(ctx context.Context) (nodeapi.Status, error)
}

// Options of a run.
type Options struct {
	Outside  []string      // hosts (IPv4, with an optional :port) that webspaces should reach through NAT
	Denied   netip.Addr    // an address that webspaces must not reach through NAT; invalid: none is tried
	External ForwardRange  // of forwards
	Progress func(string)  // what goes on before and after the tests; may be nil
	Starting func(string)  // which test comes next; may be nil
	Each     func(Outcome) // each outcome as it comes; may be nil
	Binary   string        // the lanyard program, linked statically; default: the running one
	Keep     bool          // leave the webspaces in place
}

// ForwardRange of external ports.
type ForwardRange struct{ First, Last uint16 }

// Limits of time.
const (
	testTimeout    = 45 * time.Second
	setupTimeout   = 3 * time.Minute
	cleanupTimeout = 2 * time.Minute
)

type runner struct {
	lxd    LXD
	daemon Daemon
	o      Options
	node   nodeapi.Node
	local  string // LXD's name of this machine, "" standalone
	peers  map[string]webspace.Member
	spaces []*space
	base   int       // uid of the first
	image  string    // fingerprint
	leases time.Time // until when all webspaces must have theirs
	report Report
}

// Run tries everything and removes what it made, also when it is interrupted. An error means that the test could not be
// set up; failed tests are in the report.
func Run(ctx context.Context, lxd LXD, daemon Daemon, o Options) (report Report, err error) {
	start := time.Now()
	r := &runner{lxd: lxd, daemon: daemon, o: o}
	if r.o.Progress == nil {
		r.o.Progress = func(string) {}
	}
	if r.o.Binary == "" {
		r.o.Binary = running
	}
	if r.o.Starting == nil {
		r.o.Starting = func(string) {}
	}
	if r.o.Each == nil {
		r.o.Each = func(Outcome) {}
	}
	status, err := daemon.Status(ctx)
	if err != nil {
		return Report{}, err
	}
	if !status.Readiness.Ready {
		return Report{}, &nodeapi.Error{Code: nodeapi.CodeStarting, What: "this node is not ready, so nothing can be tried",
			Cause: "a part of lanyardd is not up", Next: "lanyard status --wait"}
	}
	r.node = status.Node
	defer func() {
		if r.o.Keep && len(r.report.Outcomes) > 0 {
			r.o.Progress("keeping the temporary webspaces; remove them with: lanyard connectivity clean")
		} else {
			r.o.Progress("removing the temporary webspaces")
			r.report.Leftovers = r.cleanup(context.WithoutCancel(ctx))
		}
		r.report.Took = time.Since(start)
		report = r.report
	}()
	if err := r.setup(ctx); err != nil {
		return Report{}, err
	}
	r.leases = time.Now().Add(leaseWait)
	for _, j := range r.jobs() {
		if ctx.Err() != nil {
			break
		}
		r.one(ctx, j)
	}
	if ctx.Err() != nil {
		return Report{}, &nodeapi.Error{Code: CodeInterrupted, What: "the test was interrupted", Cause: context.Cause(ctx).Error(),
			Next: "lanyard connectivity test", Err: ctx.Err()}
	}
	return Report{}, nil
}

// CodeInterrupted of the error that Run gives when its context ended.
const CodeInterrupted = "interrupted"

// job is one test.
type job struct {
	name  string
	from  *space
	to    string
	needs []*space // whose lease is needed
	do    string   // after a failure
	run   func(context.Context) (detail string, err error)
}

func (r *runner) one(outer context.Context, j job) {
	ctx, cancel := context.WithTimeout(outer, testTimeout)
	defer cancel()
	o := Outcome{Name: j.name, To: j.to, From: "this node"}
	if j.from != nil {
		o.From = j.from.label()
	}
	what := j.name + ", " + o.From
	if o.To != "" {
		what += " to " + o.To
	}
	r.o.Starting(what)
	start := time.Now()
	var err error
	for _, s := range slices.Concat(j.needs, []*space{j.from}) {
		if s != nil && !s.leased && j.name != leaseTest {
			err = skip(s.label() + noLease)
		}
	}
	if err == nil {
		o.Detail, err = j.run(ctx)
	}
	if outer.Err() != nil {
		return // it says nothing about the network
	}
	o.Took = time.Since(start)
	switch _, skipped := errors.AsType[skip](err); {
	case err == nil:
		o.Status = OK
	case skipped:
		o.Status, o.Detail = Skipped, err.Error()
	default:
		o.Status, o.Detail, o.Do = Failed, err.Error(), j.do
	}
	r.report.add(o)
	r.o.Each(o)
}
