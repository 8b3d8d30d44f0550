package consul

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
)

// api calls the HTTP API at the first address that answers.
type api struct {
	hosts  []string
	scheme string
	token  string
	client *http.Client
	at     atomic.Uint32 // the host that answered last
}

// maxAnswer bounds an answer, and maxReason the text of a refusal.
const (
	maxAnswer = 64 << 20
	maxReason = 300
)

// errStatus is an answer with an error status.
type errStatus struct {
	status int
	text   string
}

func (e *errStatus) Error() string {
	return fmt.Sprintf("the registry answers %d: %s", e.status, e.text)
}

// do sends a request. Addresses that do not answer, or answer that they cannot now,
// are passed over; when none is left, the error is the last one's.
func (a *api) do(ctx context.Context, method, path string, body any) (http.Header, []byte, error) {
	var data []byte
	if body != nil {
		var err error
		if data, err = json.Marshal(body); err != nil {
			return nil, nil, err
		}
	}
	first := a.at.Load()
	var failed error
	for n := range a.hosts {
		at := (first + uint32(n)) % uint32(len(a.hosts))
		header, answer, err := a.once(ctx, a.hosts[at], method, path, data)
		var status *errStatus
		if err == nil || errors.As(err, &status) && status.status < 500 {
			a.at.Store(at)
			return header, answer, err
		}
		failed = fmt.Errorf("%s: %w", a.hosts[at], err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, nil, failed
}

func (a *api) once(ctx context.Context, host, method, path string, body []byte) (http.Header, []byte, error) {
	resp, err := a.open(ctx, host, method, path, body)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, nil, err
	case len(answer) > maxAnswer:
		return nil, nil, fmt.Errorf("the answer is larger than %d bytes", maxAnswer)
	}
	return resp.Header, answer, nil
}

// open sends a request and returns the answer with its body unread if its status is 200. The caller
// closes the body.
func (a *api) open(ctx context.Context, host, method, path string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, a.scheme+"://"+host+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if a.token != "" {
		req.Header.Set("X-Consul-Token", a.token)
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxReason))
	if err != nil {
		return nil, err
	}
	return nil, &errStatus{resp.StatusCode, strings.TrimSpace(string(text))}
}
