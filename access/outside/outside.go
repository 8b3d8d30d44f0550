// Package outside asks other systems that verify the credentials of logins: identity
// providers and API servers. They may be hostile: their answers are bounded, and error
// messages name no address.
package outside

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/skerryhq/skerry"
)

// The bounds of another system's answer.
const (
	maxBody   = 1 << 20
	maxHeader = 64 << 10
)

// Way is how a system is asked. The time that it takes is bounded by the request.
type Way struct {
	CA        string // PEM of its authority; empty: those of this machine
	Proxy     bool   // by the proxy that the environment names
	Redirects int    // how many are followed, never from https to http
}

// Ask sends the request and decodes the answer's JSON. Its error is of kind Unavailable;
// the message is for the user that logs in and names no address. The cause is for the
// log.
func (o Way) Ask(req *http.Request, into any) error {
	t := &http.Transport{
		DisableKeepAlives: true, MaxResponseHeaderBytes: maxHeader,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
	}
	if o.Proxy {
		t.Proxy = http.ProxyFromEnvironment
	}
	if o.CA != "" {
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		t.TLSClientConfig.RootCAs.AppendCertsFromPEM([]byte(o.CA))
	}
	resp, err := (&http.Client{Transport: t, CheckRedirect: o.follows}).Do(req)
	if err != nil {
		return fault(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusCreated {
		return fault(&answeredError{req.URL.Redacted(), resp.StatusCode})
	}
	body := &io.LimitedReader{R: resp.Body, N: maxBody + 1}
	err = json.NewDecoder(body).Decode(into)
	if body.N <= 0 {
		err = fmt.Errorf("%s answers with more than %d bytes", req.URL.Redacted(), maxBody)
	}
	if err != nil {
		return fault(fmt.Errorf("decode the answer of %s: %w", req.URL.Redacted(), err))
	}
	return nil
}

func (o Way) follows(req *http.Request, via []*http.Request) error {
	if len(via) > o.Redirects || via[0].URL.Scheme == "https" && req.URL.Scheme != "https" {
		return http.ErrUseLastResponse
	}
	return nil
}

// answeredError is an answer that is none.
type answeredError struct {
	url    string
	status int
}

func (e *answeredError) Error() string {
	return fmt.Sprintf("%s answers %d %s", e.url, e.status, http.StatusText(e.status))
}

// fault words a failure without an address.
func fault(cause error) error {
	text := "it cannot be reached"
	var (
		answered *answeredError
		at       *url.Error
		unknown  x509.UnknownAuthorityError
		verify   *tls.CertificateVerificationError
	)
	switch {
	case errors.As(cause, &answered):
		text = fmt.Sprintf("%d %s", answered.status, http.StatusText(answered.status))
	case errors.Is(cause, context.DeadlineExceeded), errors.As(cause, &at) && at.Timeout():
		text = "it did not answer in time"
	case errors.As(cause, &verify), errors.As(cause, &unknown):
		text = "its certificate is not trusted"
	case !errors.As(cause, &at):
		text = "its answer cannot be read"
	}
	return &skerry.Error{Kind: skerry.Unavailable, Message: text, Err: cause}
}

// Because returns an error of kind Unavailable that names the failed step and the reason,
// with the cause of why as its own.
func Because(why error, format string, args ...any) *skerry.Error {
	return &skerry.Error{Kind: skerry.Unavailable, Message: fmt.Sprintf(format, args...) + ": " + why.Error(), Err: errors.Unwrap(why)}
}
