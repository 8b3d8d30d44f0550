// Package tcp is the check that opens a connection, with TLS if asked to, and
// closes it again.
package tcp

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/check"
)

// Kind returns the row of the table.
func Kind() check.Kind {
	return check.Kind{
		Name:    "tcp",
		Matches: func(d *skerry.CheckDefinition) bool { return d.TCP != "" },
		Timeout: 10 * time.Second,
		Peers:   func(d *skerry.CheckDefinition) []string { return []string{d.TCP} },
		New: func(d *skerry.CheckDefinition) (check.Prober, error) {
			p := &prober{address: d.TCP, dial: new(net.Dialer).DialContext}
			if d.TCPUseTLS {
				p.dial = (&tls.Dialer{Config: check.TLSConfig(d)}).DialContext
			}
			return p, nil
		},
	}
}

type prober struct {
	address string
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
}

// Check implements [check.Prober].
func (p *prober) Check(ctx context.Context) check.Result {
	conn, err := p.dial(ctx, "tcp", p.address)
	if err != nil {
		return check.Failed(err)
	}
	conn.Close()
	return check.Result{Status: skerry.Passing, Output: "TCP connect " + p.address + ": Success"}
}
