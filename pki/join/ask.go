package join

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/pki"
)

const maxAnswer = 256 << 10

// Got is what a process got from a server.
type Got struct {
	pki.Held
	Authority *pki.Authority // for servers
}

// Ask gets the first certificate of a process from the server at an address, host:port of its ports.server. The kind of the
// error is that of the server's answer, and [skerry.Unavailable] if there is none.
func Ask(ctx context.Context, address string, t *Token, n pki.Name, key crypto.Signer, now func() time.Time) (Got, error) {
	if err := n.Check(); err != nil {
		return Got{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	d := tls.Dialer{Config: pki.Pinned(t.Pin, now, "http/1.1")}
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return Got{}, skerry.Errorf(skerry.Unavailable, "%s: %w", address, err)
	}
	defer conn.Close()
	state := conn.(*tls.Conn).ConnectionState()
	bound, err := binding(&state)
	if err != nil {
		return Got{}, err
	}
	request, err := pki.Request(key)
	if err != nil {
		return Got{}, err
	}
	q := question{ID: t.ID.String(), Node: n.Node, Datacenter: n.Datacenter, Request: request, Proof: t.prove(bound, request, n.Node)}
	used := &http.Transport{
		DialTLSContext:    func(context.Context, string, string) (net.Conn, error) { return conn, nil },
		DisableKeepAlives: true, MaxResponseHeaderBytes: 8 << 10,
	}
	return post(ctx, used, "https://"+address+JoinPath, q, n, key)
}

// Renew gets another certificate for the key of a process, from the server at an address. The connection of the round tripper
// shows the present one.
func Renew(ctx context.Context, r http.RoundTripper, address string, n pki.Name, key crypto.Signer) (Got, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	request, err := pki.Request(key)
	if err != nil {
		return Got{}, err
	}
	return post(ctx, r, "https://"+address+RenewPath, question{Node: n.Node, Request: request}, n, key)
}

func post(ctx context.Context, r http.RoundTripper, url string, q question, n pki.Name, key crypto.Signer) (Got, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return Got{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return Got{}, skerry.Errorf(skerry.Invalid, "%w", err)
	}
	resp, err := r.RoundTrip(req)
	if err != nil {
		return Got{}, skerry.Errorf(skerry.Unavailable, "%w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return Got{}, skerry.Errorf(skerry.Unavailable, "%w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return Got{}, skerry.Errorf(kindOf(resp.StatusCode), "%s: %s", req.URL.Host, strings.TrimSpace(string(text)))
	}
	var a Answer
	if err := json.Unmarshal(text, &a); err != nil {
		return Got{}, fmt.Errorf("the answer of %s is not understood: %w", req.URL.Host, err)
	}
	return a.read(n, key)
}

// kindOf returns the kind of an answer's error.
func kindOf(status int) skerry.Kind {
	for kind, s := range statuses {
		if s == status {
			return kind
		}
	}
	return skerry.Unavailable
}

// read checks that an answer is for a process.
func (a *Answer) read(n pki.Name, key crypto.Signer) (got Got, err error) {
	got.Key = key
	if got.Chain, err = parse(a.Chain); err == nil {
		got.Roots, err = parse(a.Roots)
	}
	if err != nil {
		return Got{}, err
	}
	if len(got.Chain) == 0 || len(got.Roots) == 0 {
		return Got{}, fmt.Errorf("the server's answer has no certificate")
	}
	if is, err := pki.Of(got.Leaf()); err != nil || is != n {
		return Got{}, skerry.Errorf(skerry.Invalid, "the certificate is for %v in place of %v: the join token is for another kind of process, or another datacenter's", is, n)
	}
	if n.Kind == pki.Server {
		if got.Authority, err = pki.DecodeAuthority(a.Authority); err != nil {
			return Got{}, fmt.Errorf("the server's answer has no authority: %w", err)
		}
	}
	return got, nil
}

func parse(all [][]byte) (out []*x509.Certificate, err error) {
	for _, der := range all {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return slices.Clip(out), nil
}
