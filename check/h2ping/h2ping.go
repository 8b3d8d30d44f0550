// Package h2ping is the check that sends an HTTP/2 PING and waits for its answer.
package h2ping

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"golang.org/x/net/http2"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/check"
)

// Kind returns the row of the table.
func Kind() check.Kind {
	return check.Kind{
		Name:    "h2ping",
		Matches: func(d *skerry.CheckDefinition) bool { return d.H2PING != "" },
		Timeout: 10 * time.Second,
		Peers:   func(d *skerry.CheckDefinition) []string { return []string{d.H2PING} },
		New:     func(d *skerry.CheckDefinition) (check.Prober, error) { return newProber(d), nil },
	}
}

type prober struct {
	address string
	tls     *tls.Config // nil: without TLS
}

func newProber(d *skerry.CheckDefinition) *prober {
	p := &prober{address: d.H2PING}
	if d.H2PingUseTLS {
		p.tls = check.TLSConfig(d)
		p.tls.NextProtos = []string{http2.NextProtoTLS}
	}
	return p
}

// Check implements [check.Prober].
func (p *prober) Check(ctx context.Context) check.Result {
	if err := p.ping(ctx); err != nil {
		return check.Failed(err)
	}
	return check.Result{Status: skerry.Passing, Output: "HTTP2 ping was successful"}
}

func (p *prober) ping(ctx context.Context) error {
	conn, err := p.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	// A peer that takes nothing must not hold the preface up either.
	defer context.AfterFunc(ctx, func() { conn.Close() })()

	//lint:ignore SA1019 net/http's own transport cannot send a ping
	client, err := (&http2.Transport{AllowHTTP: true}).NewClientConn(conn)
	if err != nil {
		return fmt.Errorf("HTTP2 connection to %s: %w", p.address, err)
	}
	defer client.Close()
	if err := client.Ping(ctx); err != nil {
		return fmt.Errorf("HTTP2 ping of %s: %w", p.address, err)
	}
	return nil
}

func (p *prober) dial(ctx context.Context) (net.Conn, error) {
	if p.tls == nil {
		return new(net.Dialer).DialContext(ctx, "tcp", p.address)
	}
	conn, err := (&tls.Dialer{Config: p.tls}).DialContext(ctx, "tcp", p.address)
	if err != nil {
		return nil, err
	}
	if chosen := conn.(*tls.Conn).ConnectionState().NegotiatedProtocol; chosen != http2.NextProtoTLS {
		conn.Close()
		return nil, fmt.Errorf("%s speaks TLS, but not HTTP2 (it chose %q)", p.address, chosen)
	}
	return conn, nil
}
