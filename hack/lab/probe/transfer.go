package main

import (
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

type transferResult struct {
	Bytes   int64
	Seconds float64
	Error   string
}

// transfer moves many bytes to or from an HTTP server of serve and compares checksums.
func transfer(ctx context.Context, args []string) (any, error) {
	f := flag.NewFlagSet("transfer", flag.ContinueOnError)
	n := f.Int64("bytes", 10<<20, "how much")
	up := f.Bool("up", false, "to the server instead of from it")
	limit := f.Duration("timeout", 30*time.Second, "for everything")
	if err := parse(f, args, 1); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, *limit)
	defer cancel()
	start := time.Now()
	err := move(ctx, "http://"+f.Arg(0), *n, *up)
	r := transferResult{Bytes: *n, Seconds: time.Since(start).Seconds()}
	if err != nil {
		r.Error = err.Error()
	}
	return r, err
}

func move(ctx context.Context, url string, n int64, up bool) error {
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(&pattern{}, n)); err != nil {
		return err
	}
	want := fmt.Sprintf("%x", h.Sum(nil))
	method, body := http.MethodGet, io.Reader(nil)
	if up {
		method, body = http.MethodPost, io.LimitReader(&pattern{}, n)
	} else {
		url += fmt.Sprintf("/bytes?n=%d", n)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", resp.Status)
	}
	var got string
	if up {
		b, err := io.ReadAll(io.LimitReader(resp.Body, 1024))
		if err != nil {
			return err
		}
		got = strings.TrimSpace(string(b))
	} else {
		h.Reset()
		if _, err := io.Copy(h, resp.Body); err != nil {
			return err
		}
		got = fmt.Sprintf("%x", h.Sum(nil))
	}
	if got != want {
		return fmt.Errorf("the bytes were changed on the way")
	}
	return nil
}
