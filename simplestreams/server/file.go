package server

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/lanyard-project/lanyard/simplestreams"
	"github.com/lanyard-project/lanyard/simplestreams/catalog"
)

const buffer = 256 << 10

// file sends a file of an image, or says where it is.
func (s *Server) file(w *recorder, req *http.Request, r simplestreams.Repo, i *catalog.Image, f *catalog.File) error {
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Cache-Control", "no-cache")
	h.Set("Accept-Ranges", "bytes")
	h.Set("ETag", `"`+f.SHA256+`"`)
	if matchesTag(req, `"`+f.SHA256+`"`) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	if kept, ok := s.o.Library.Open(req.Context(), r, f); ok {
		defer kept.Close()
		return s.send(w, req, kept)
	}
	if !s.o.PullThrough {
		if public := s.o.Library.Public(req.Context(), r, f); public != "" {
			return redirect(w, public)
		}
	}
	if req.Method == http.MethodHead {
		h.Set("Content-Length", strconv.FormatInt(f.Asset.Size, 10))
		w.WriteHeader(http.StatusOK)
		return nil
	}
	d, err := s.o.Library.Fetch(req.Context(), r, i, f)
	if err != nil {
		if errors.Is(err, simplestreams.ErrBusy) { // it does not fit here
			if public := s.o.Library.Public(req.Context(), r, f); public != "" {
				return redirect(w, public)
			}
		}
		return err
	}
	defer d.Close()
	if s.o.VerifyFirst || req.Header.Get("Range") != "" {
		if err := d.Wait(req.Context(), nil); err != nil {
			return err
		}
		if kept, ok := s.o.Library.Open(req.Context(), r, f); ok {
			defer kept.Close()
			return s.send(w, req, kept)
		}
		// It was evicted in the meantime; the download still has it open.
	}
	return s.stream(w, f.Asset.Size, d.Reader(req.Context()))
}

// redirect is temporary (302): where a file is may change, and with it whether it comes through here.
func redirect(w *recorder, to string) error {
	w.Header().Del("ETag")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusFound)
	return nil
}

func (s *Server) send(w *recorder, req *http.Request, f io.ReadSeeker) error {
	release, err := s.slot()
	if err != nil {
		return err
	}
	defer release()
	http.ServeContent(w, req, "", time.Time{}, f)
	return nil
}

// stream sends bytes as they come. What fails before the first byte can still be told.
func (s *Server) stream(w *recorder, size int64, from io.Reader) error {
	release, err := s.slot()
	if err != nil {
		return err
	}
	defer release()
	b := make([]byte, buffer)
	for sent := int64(0); ; {
		n, err := from.Read(b)
		if n > 0 {
			if sent == 0 {
				w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
				w.WriteHeader(http.StatusOK)
			}
			if _, err := w.Write(b[:n]); err != nil {
				return err
			}
			sent += int64(n)
		}
		switch {
		case errors.Is(err, io.EOF) && sent == size:
			if size == 0 {
				w.WriteHeader(http.StatusOK)
			}
			return nil
		case err != nil:
			return err
		}
	}
}

// slot bounds how many files are sent at a time.
func (s *Server) slot() (func(), error) {
	select {
	case s.streams <- struct{}{}:
		return func() { <-s.streams }, nil
	default:
		return nil, &simplestreams.Problem{What: "this server is busy", Cause: "it sends as many files as it may at a time", Next: "try again", Kind: simplestreams.ErrBusy, Retry: 10 * time.Second}
	}
}
