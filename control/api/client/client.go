package client

import (
	"context"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"strings"

	"github.com/lanyard-project/lanyard/control/api/wire"
)

// New makes a client of the API at server, for example https://lanyard.example.org/v1, that carries a token ("" for none).
func New(server, token string, options ...ClientOption) (*ClientWithResponses, error) {
	if token != "" {
		options = append(options, WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
			r.Header.Set("Authorization", "Bearer "+token)
			return nil
		}))
	}
	return NewClientWithResponses(server, options...)
}

// Failure is an answer that says what failed.
type Failure struct {
	Status  int // of HTTP
	Problem wire.Error
}

func (f *Failure) Error() string {
	if f.Problem.Message == "" {
		return fmt.Sprintf("%d %s", f.Status, http.StatusText(f.Status))
	}
	return f.Problem.Message
}

// Check is nil for an answer below 300, and a *Failure for any other. body is the whole body of r.
func Check(r *http.Response, body []byte) error {
	if r.StatusCode < 300 {
		return nil
	}
	f := &Failure{Status: r.StatusCode}
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if kind == "application/problem+json" || kind == "application/json" {
		if err := json.Unmarshal(body, &f.Problem); err != nil {
			f.Problem = wire.Error{}
		}
	} else if text := strings.TrimSpace(string(body)); len(text) < 200 {
		f.Problem.Message = text
	}
	return f
}
