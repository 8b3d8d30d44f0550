// Package udp is the check that sends a datagram. An answer passes, and so does silence,
// since few protocols answer what they do not know; only a refusal (ICMP: port
// unreachable) or an unknown address is critical.
package udp

import (
	"context"
	"errors"
	"net"
	"os"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/check"
)

// payload is an empty line, harmless to servers that read text.
var payload = []byte("\n")

// Kind returns the row of the table.
func Kind() check.Kind {
	return check.Kind{
		Name:    "udp",
		Matches: func(d *skerry.CheckDefinition) bool { return d.UDP != "" },
		Timeout: 10 * time.Second,
		Peers:   func(d *skerry.CheckDefinition) []string { return []string{d.UDP} },
		New: func(d *skerry.CheckDefinition) (check.Prober, error) {
			return &prober{address: d.UDP}, nil
		},
	}
}

type prober struct{ address string }

// Check implements [check.Prober]. A silent peer costs the whole timeout.
func (p *prober) Check(ctx context.Context) check.Result {
	if err := p.ask(ctx); err != nil {
		return check.Failed(err)
	}
	return check.Result{Status: skerry.Passing, Output: "UDP connect " + p.address + ": Success"}
}

func (p *prober) ask(ctx context.Context) error {
	conn, err := new(net.Dialer).DialContext(ctx, "udp", p.address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := conn.Write(payload); err != nil {
		return err
	}
	var answer [512]byte
	if _, err := conn.Read(answer[:]); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return nil
}
