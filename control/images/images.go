package images

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lanyard-project/lanyard/control/node/config"
	"github.com/lanyard-project/lanyard/simplestreams"
	"github.com/lanyard-project/lanyard/simplestreams/catalog"
	"github.com/lanyard-project/lanyard/simplestreams/library"
	"github.com/lanyard-project/lanyard/simplestreams/server"
	"github.com/lanyard-project/lanyard/simplestreams/source"
	"github.com/lanyard-project/lanyard/simplestreams/source/folder"
	"github.com/lanyard-project/lanyard/simplestreams/source/github"
	"github.com/lanyard-project/lanyard/simplestreams/store"
)

// role is the running server.
type role struct {
	config  config.Images
	version string
	log     *slog.Logger
	metrics *metrics
	store   *store.Store
	github  *github.Source
	folder  *folder.Source
	library *library.Library
	server  *server.Server
}

// Addresses are where a role listens. Metrics is nil without a server for them.
type Addresses struct{ Public, Metrics net.Addr }

// Run runs the role until ctx ends. An error means that it could not start, or that a listener failed.
func Run(ctx context.Context, c config.Images, version string, log *slog.Logger, ready func(Addresses)) (err error) {
	if err := c.Check(); err != nil {
		return err
	}
	r, err := build(c, version, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	public, err := r.listen(ctx)
	if err != nil {
		return err
	}
	admin, err := listenSocket(c.Socket)
	if err != nil {
		return errors.Join(failed("cannot make the socket of lanyard images", err, "correct images.socket"), public.Close())
	}
	at := Addresses{Public: public.Addr()}
	var forMetrics net.Listener
	if c.Metrics != "" {
		if forMetrics, err = net.Listen("tcp", c.Metrics); err != nil {
			return errors.Join(failed("cannot listen for metrics", err, "correct images.metrics"), public.Close(), admin.Close())
		}
		at.Metrics = forMetrics.Addr()
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.library.Run(ctx) })
	g.Go(func() error { return serve(ctx, public, r.server.HTTP()) })
	g.Go(func() error { return serve(ctx, admin, r.adminServer()) })
	if forMetrics != nil {
		g.Go(func() error { return serve(ctx, forMetrics, r.metricsServer()) })
	}
	log.Info("serving images", "address", public.Addr().String(), "tls", c.TLS, "allow", strings.Join(c.Allow, ","), "folder", c.Folder)
	ready(at)
	return g.Wait()
}

func failed(what string, err error, next string) error {
	return &config.Error{What: what, Cause: err.Error(), Next: next, Err: err}
}

// build makes the parts out of the configuration.
func build(c config.Images, version string, log *slog.Logger) (_ *role, err error) {
	r := &role{config: c, version: version, log: log, metrics: newMetrics()}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	allow, err := simplestreams.NewAllowList(c.Allow)
	if err != nil {
		return nil, failed("cannot use images.allow", err, "write repositories as owner/name or owner/*")
	}
	token := ""
	if c.TokenFile != "" {
		b, err := os.ReadFile(c.TokenFile)
		if err != nil {
			return nil, failed("cannot read the token for GitHub", err, "correct images.token_file")
		}
		token = strings.TrimSpace(string(b))
	}
	if r.github, err = github.New(github.Options{Base: c.GitHub, Token: token, Allow: allow, DownloadHosts: c.DownloadHosts,
		UserAgent: "lanyard/" + version, Observe: r.metrics.upstream}); err != nil {
		return nil, failed("cannot ask GitHub", err, "correct images.github and images.token_file")
	}
	var sources []source.Source
	if c.Folder != "" {
		if r.folder, err = folder.New(c.Folder); err != nil {
			return nil, failed("cannot use images.folder", err, "make it, or leave images.folder empty")
		}
		sources = append(sources, r.folder)
	}
	sources = append(sources, r.github)
	if r.store, err = store.Open(store.Options{Dir: c.Cache, MaxBytes: int64(c.CacheSize) << 30}); err != nil {
		return nil, failed("cannot use the cache of images", err, "correct images.cache; only one lanyardd may use it")
	}
	r.library = library.New(library.Options{Sources: sources, Store: r.store, Always: allow.Named(), Refresh: c.Refresh, Stale: c.Stale,
		Prefetch: c.Prefetch, Log: log, Observer: r.metrics,
		Catalog: catalog.Options{Versions: c.Versions, MaxImage: int64(c.MaxImage) << 30, NoCompute: !c.Compute, Keep: c.PullThrough}})
	r.server = server.New(server.Options{Library: r.library, PullThrough: c.PullThrough, VerifyFirst: c.VerifyFirst, Log: log})
	return r, nil
}

// close ends everything in the order in which it depends on each other.
func (r *role) close() error {
	var errs []error
	if r.library != nil {
		r.library.Close()
	}
	if r.store != nil {
		errs = append(errs, r.store.Close())
	}
	if r.github != nil {
		r.github.Close()
	}
	if r.folder != nil {
		errs = append(errs, r.folder.Close())
	}
	return errors.Join(errs...)
}

// listen opens the public listener, with TLS as configured.
func (r *role) listen(ctx context.Context) (net.Listener, error) {
	tls, err := server.TLS(ctx, server.TLSOptions{Mode: r.config.TLS, Cert: r.config.TLSCert, Key: r.config.TLSKey, Names: r.config.ACMENames, Email: r.config.ACMEEmail,
		Directory: r.config.ACMEDirectory, CA: r.config.ACMECA, Storage: r.config.Cache + "/acme", Log: r.log})
	if err != nil {
		return nil, failed("cannot use TLS for images", err, "correct images.tls and what belongs to it")
	}
	l, err := net.Listen("tcp", r.config.Address)
	if err != nil {
		return nil, failed("cannot listen for clients of images", err, "correct images.address; see who listens: ss -ltnp")
	}
	return tls(l), nil
}

const shutdownTimeout = 10 * time.Second

// serve serves until ctx ends; then answers that have begun have a while to end.
func serve(ctx context.Context, l net.Listener, s *http.Server) error {
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve at %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	end, stop := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer stop()
	if err := s.Shutdown(end); err != nil {
		_ = s.Close()
	}
	<-done
	return nil
}
