package watch

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/consul/api/watch"

	"github.com/skerryhq/skerry/tool/child"
)

// Handler takes a change: the new state, and its index, "" for states that have none. It
// returns when it is done or ctx ends.
type Handler func(ctx context.Context, index string, data any) error

// timeout is how long a request to a URL may take, and how long a program may
// take to end once it was told to.
const timeout = 10 * time.Second

// URL returns a handler that sends the state as JSON to h.Path. A zero timeout
// means 10 s, no method POST. Answers other than 2xx are errors.
func URL(h watch.HttpHandlerConfig) Handler {
	client := http.DefaultClient
	if h.TLSSkipVerify {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} // the operator asked for it
		transport.DisableKeepAlives = true                                // nothing else closes its idle connections
		client = &http.Client{Transport: transport}
	}
	if h.Timeout == 0 {
		h.Timeout = timeout
	}
	if h.Method == "" {
		h.Method = http.MethodPost
	}
	return func(ctx context.Context, index string, data any) error {
		body, err := json.Marshal(data)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, h.Timeout)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, h.Method, h.Path, bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-Consul-Index", index)
		for key, values := range h.Header {
			req.Header[http.CanonicalHeaderKey(key)] = values
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20)); err != nil {
			return err
		}
		if resp.StatusCode/100 != 2 {
			return fmt.Errorf("%s answered %s", h.Path, resp.Status)
		}
		return nil
	}
}

// Program returns a handler that runs a program with the state as JSON on its standard
// input and the index in SKERRY_INDEX. When ctx ends it is sent SIGTERM, with all that it
// started, and is killed ten seconds later. Processes that a program leaves when it ends
// by itself go on: one may be a service that was restarted.
func Program(args []string, stdout, stderr io.Writer) Handler {
	return func(ctx context.Context, index string, data any) error {
		body, err := json.Marshal(data)
		if err != nil {
			return err
		}
		err = child.Run(ctx, child.Spec{
			Command: args, Stdin: bytes.NewReader(append(body, '\n')), Stdout: stdout, Stderr: stderr,
			Env:  append(os.Environ(), "SKERRY_INDEX="+index, "CONSUL_INDEX="+index),
			Rest: child.LeaveRest, KillAfter: timeout,
		})
		if err != nil {
			return fmt.Errorf("%s: %w", strings.Join(args, " "), err)
		}
		return nil
	}
}
