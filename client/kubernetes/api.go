package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	answerWithin = 30 * time.Second
	// A watch is ended by the server after watchFor, up to twice that: spread out, as
	// Kubernetes' own clients do.
	watchFor  = 5 * time.Minute
	pingEvery = 10 * time.Second
	pingFor   = 5 * time.Second
	maxAnswer = 256 << 20
)

// api asks one API server.
type api struct {
	access *access
	base   *url.URL
	client *http.Client
}

func newAPI(a *access) (*api, error) {
	base, err := url.Parse(a.server)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" {
		return nil, fmt.Errorf("the API server's address is %q: want a URL such as https://10.0.0.1:6443", a.server)
	}
	return &api{access: a, base: base, client: &http.Client{Transport: &http.Transport{
		Proxy:             http.ProxyFromEnvironment,
		DialContext:       (&net.Dialer{Timeout: 5 * time.Second, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: pingEvery, Interval: pingFor, Count: 3}}).DialContext,
		TLSClientConfig:   a.tls,
		ForceAttemptHTTP2: true,
		// A server that is gone without a word would leave a watch silent.
		HTTP2:                 &http.HTTP2Config{SendPingTimeout: pingEvery, PingTimeout: pingFor},
		TLSHandshakeTimeout:   5 * time.Second,
		ResponseHeaderTimeout: answerWithin,
		IdleConnTimeout:       90 * time.Second,
	}}}, nil
}

// errStatus is an answer with an error: Kubernetes' Status.
type errStatus struct {
	Code    int
	Reason  string
	Message string
	Details struct {
		Causes []struct{ Reason, Message string }
	}
}

func (e *errStatus) Error() string {
	return fmt.Sprintf("the API server answers %d %s: %s", e.Code, e.Reason, e.Message)
}

// outdated reports whether the answer only means that the requested version is not there
// any more, or not there yet.
func outdated(err error) bool {
	var e *errStatus
	if !errors.As(err, &e) {
		return false
	}
	for _, cause := range e.Details.Causes {
		if cause.Reason == "ResourceVersionTooLarge" {
			return true
		}
	}
	// Servers before 1.21 give no cause.
	return e.Code == http.StatusGone || strings.Contains(e.Message, "Too large resource version")
}

// refused reports whether the answer means that this resource may not be read, or is not
// there.
func refused(err error) bool {
	var e *errStatus
	return errors.As(err, &e) && (e.Code == http.StatusForbidden || e.Code == http.StatusNotFound)
}

// get asks, and returns the body of an answer that is 200.
func (a *api) get(ctx context.Context, path string, query url.Values) (io.ReadCloser, error) {
	u := *a.base
	u.Path = strings.TrimSuffix(u.Path, "/") + path
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "skerry")
	token := a.access.token
	if a.access.tokenFile != "" {
		data, err := os.ReadFile(a.access.tokenFile)
		if err != nil {
			return nil, fmt.Errorf("the token: %w", err)
		}
		token = strings.TrimSpace(string(data))
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, statusOf(resp)
	}
	return resp.Body, nil
}

func statusOf(resp *http.Response) error {
	e := &errStatus{}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if json.Unmarshal(body, e) != nil || e.Message == "" {
		e.Message = strings.TrimSpace(string(body[:min(len(body), 300)]))
	}
	e.Code = resp.StatusCode
	return e
}

// objects is the answer to a list.
type objects struct {
	Metadata struct{ ResourceVersion string }
	Items    []object
}

// list reads all objects.
func (a *api) list(ctx context.Context, path string, selector url.Values) (*objects, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	body, err := a.get(ctx, path, selector)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	var o objects
	if err := json.NewDecoder(io.LimitReader(body, maxAnswer)).Decode(&o); err != nil {
		return nil, fmt.Errorf("the list cannot be read: %w", err)
	}
	if o.Metadata.ResourceVersion == "" {
		return nil, errors.New("the list has no resourceVersion: this is no API server")
	}
	return &o, nil
}

// event is one line of a watch.
type event struct {
	Type   string
	Object json.RawMessage
}

// watch opens the stream of events after a version. The function returns the next event;
// io.EOF means that the server has ended the watch.
func (a *api) watch(ctx context.Context, path string, selector url.Values, version string) (next func() (event, error), err error) {
	length := watchFor + rand.N(watchFor)
	query := url.Values{
		"watch": {"true"}, "allowWatchBookmarks": {"true"}, "resourceVersion": {version},
		"timeoutSeconds": {strconv.Itoa(int(length.Seconds()))},
	}
	for key, values := range selector {
		query[key] = values
	}
	body, err := a.get(ctx, path, query)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { body.Close() })
	decoder := json.NewDecoder(body)
	return func() (e event, err error) {
		err = decoder.Decode(&e)
		return e, err
	}, nil
}
