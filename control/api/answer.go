package api

import (
	"encoding/json"
	"net/http"
	"time"
)

// answer notes what was answered, and bounds how long the client may take for it.
type answer struct {
	http.ResponseWriter
	status int
	bytes  int64
	limit  time.Duration // 0: none
}

// WriteHeader is http.ResponseWriter's.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 && status >= 200 {
		a.status = status
		if a.limit > 0 {
			_ = http.NewResponseController(a.ResponseWriter).SetWriteDeadline(time.Now().Add(a.limit))
		}
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	n, err := a.ResponseWriter.Write(b)
	a.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController, and the websocket library, at the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// code is what the client got; a connection that was taken over has switched protocols.
func (a *answer) code() int {
	if a.status == 0 {
		return http.StatusSwitchingProtocols
	}
	return a.status
}

// reply answers with JSON.
func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
