package images

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/lanyard-project/lanyard/control/images/imagesapi"
	"github.com/lanyard-project/lanyard/control/node/nodeapi"
	"github.com/lanyard-project/lanyard/simplestreams"
	"github.com/lanyard-project/lanyard/simplestreams/catalog"
	"github.com/lanyard-project/lanyard/simplestreams/library"
)

// adminServer serves the socket of lanyard images.
func (r *role) adminServer() *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+imagesapi.PathStatus, func(w http.ResponseWriter, _ *http.Request) { answer(w, r.status()) })
	mux.HandleFunc("GET "+imagesapi.PathImages, func(w http.ResponseWriter, req *http.Request) {
		r.repository(w, req, func(repo simplestreams.Repo) (*library.View, error) { return r.library.Get(req.Context(), repo) })
	})
	mux.HandleFunc("POST "+imagesapi.PathVerify, func(w http.ResponseWriter, req *http.Request) {
		r.repository(w, req, func(repo simplestreams.Repo) (*library.View, error) { return r.library.Refresh(req.Context(), repo) })
	})
	mux.HandleFunc("POST "+imagesapi.PathPrefetch, r.prefetch)
	return &http.Server{ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10, ConnContext: withCaller,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if !trusted(req.Context()) {
				refuse(w, http.StatusForbidden, nodeapi.Error{Code: nodeapi.CodeDenied, What: "the socket refuses you", Cause: "it is for root only", Next: "run the same command as root"})
				return
			}
			mux.ServeHTTP(w, req)
		})}
}

func (r *role) status() imagesapi.Status {
	s := imagesapi.Status{Version: r.version, Repositories: []imagesapi.Repository{}, CacheMax: r.store.Max()}
	s.CacheBytes, s.CacheFiles = r.store.Usage()
	if l := r.github.Limit(); l.Known {
		s.Limit = &imagesapi.Limit{Limit: l.Limit, Remaining: l.Remaining, Reset: l.Reset}
	}
	for _, st := range r.library.Status() {
		s.Repositories = append(s.Repositories, r.describe(st))
	}
	return s
}

// describe says what is known of a repository.
func (r *role) describe(st library.Status) imagesapi.Repository {
	out := imagesapi.Repository{Name: st.Repo.String(), Failing: st.Failing, Images: []imagesapi.Image{}, Skipped: []imagesapi.Skipped{}}
	if st.Err != nil {
		out.Error = st.Err.Error()
	}
	if st.View == nil {
		return out
	}
	c := st.View.Catalog
	out.Source, out.Listed, out.Cut = c.Source, c.Listed, c.Cut
	newest := map[*catalog.Image]bool{}
	for _, i := range c.Newest() {
		newest[i] = true
	}
	for k := range c.Images {
		i := &c.Images[k]
		image := imagesapi.Image{Name: i.Name, Arch: i.Arch, Version: i.Version, Serial: i.Serial, Fingerprint: i.Fingerprint(), Size: i.Size(),
			Created: i.Metadata.Created, Newest: newest[i], Cached: true, Description: i.Metadata.Properties["description"]}
		for _, f := range i.Files {
			image.Cached = image.Cached && r.store.Has(f.SHA256)
		}
		out.Images = append(out.Images, image)
	}
	for _, s := range c.Skipped {
		out.Skipped = append(out.Skipped, imagesapi.Skipped{Tag: s.Tag, Image: s.Name, Arch: s.Arch, Version: s.Version, Reason: s.Reason, Passing: s.Passing, Old: s.Old})
	}
	return out
}

// repository answers with one repository. An error of its source is part of the answer if something is known all the same.
func (r *role) repository(w http.ResponseWriter, req *http.Request, get func(simplestreams.Repo) (*library.View, error)) {
	repo, err := simplestreams.ParseRepo(req.URL.Query().Get("repository"))
	if err != nil {
		refuseError(w, err)
		return
	}
	view, err := get(repo)
	for _, st := range r.library.Status() {
		if st.Repo == repo && st.View != nil && (view != nil || err != nil) {
			answer(w, r.describe(st))
			return
		}
	}
	if err == nil {
		err = &simplestreams.Problem{What: "there is nothing known of " + repo.String(), Kind: simplestreams.ErrNotFound}
	}
	refuseError(w, err)
}

// prefetch fetches the files of the newest images, and tells every step.
func (r *role) prefetch(w http.ResponseWriter, req *http.Request) {
	repo, err := simplestreams.ParseRepo(req.URL.Query().Get("repository"))
	if err != nil {
		refuseError(w, err)
		return
	}
	view, err := r.library.Get(req.Context(), repo)
	if err != nil {
		refuseError(w, err)
		return
	}
	only := req.URL.Query().Get("image")
	var images []*catalog.Image
	for _, i := range view.Catalog.Newest() {
		if only == "" || i.Name == only {
			images = append(images, i)
		}
	}
	if only != "" && images == nil {
		refuseError(w, &simplestreams.Problem{What: "there is no image " + only, Cause: "the repository offers none of that name", Next: "lanyard images list " + repo.String(), Kind: simplestreams.ErrNotFound})
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	tell, out := http.NewResponseController(w), json.NewEncoder(w)
	step := func(s imagesapi.Step) {
		_ = out.Encode(s) // a reader that went away ends the request's context
		_ = tell.Flush()
	}
	last := imagesapi.Step{Done: true}
	for _, i := range images {
		for k := range i.Files {
			f := &i.Files[k]
			name := i.Path(f.Name)
			if err := r.fetch(req, repo, i, f, func(got, size int64) { step(imagesapi.Step{File: name, Bytes: got, Size: size}) }); err != nil {
				if req.Context().Err() != nil {
					return
				}
				last.Bad++
				step(imagesapi.Step{File: name, Size: f.Asset.Size, Error: err.Error()})
				continue
			}
			last.Files++
			step(imagesapi.Step{File: name, Bytes: f.Asset.Size, Size: f.Asset.Size})
		}
	}
	step(last)
}

const stepEvery = 100 * time.Millisecond

func (r *role) fetch(req *http.Request, repo simplestreams.Repo, i *catalog.Image, f *catalog.File, each func(got, size int64)) error {
	if kept, ok := r.library.Open(req.Context(), repo, f); ok {
		return kept.Close()
	}
	d, err := r.library.Fetch(req.Context(), repo, i, f)
	if err != nil {
		return err
	}
	defer d.Close()
	last := time.Time{}
	return d.Wait(req.Context(), func(got, size int64) {
		if now := time.Now(); now.Sub(last) >= stepEvery {
			last = now
			each(got, size)
		}
	})
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a reader that went away is its own business
}

func refuse(w http.ResponseWriter, status int, e nodeapi.Error) {
	e.Status = status
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(&e)
}

// Codes of errors, beside those of nodeapi.
const (
	codeForbidden = "images-not-allowed"
	codeLimited   = "images-rate-limit"
	codeSource    = "images-source"
)

func refuseError(w http.ResponseWriter, err error) {
	var p *simplestreams.Problem
	if !errors.As(err, &p) {
		p = &simplestreams.Problem{What: err.Error()}
	}
	e := nodeapi.Error{Code: nodeapi.CodeInternal, What: p.What, Cause: p.Cause, Next: p.Next}
	if e.Cause == "" && p.Err != nil {
		e.Cause = p.Err.Error()
	}
	status := http.StatusInternalServerError
	for _, k := range []struct {
		kind   error
		code   string
		status int
	}{
		{simplestreams.ErrInvalid, nodeapi.CodeBadRequest, http.StatusBadRequest}, {simplestreams.ErrNotFound, nodeapi.CodeNotFound, http.StatusNotFound},
		{simplestreams.ErrForbidden, codeForbidden, http.StatusForbidden}, {simplestreams.ErrLimited, codeLimited, http.StatusTooManyRequests},
		{simplestreams.ErrUpstream, codeSource, http.StatusBadGateway}, {simplestreams.ErrBusy, codeSource, http.StatusServiceUnavailable},
	} {
		if errors.Is(err, k.kind) {
			e.Code, status = k.code, k.status
			break
		}
	}
	refuse(w, status, e)
}
