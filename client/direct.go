package client

import (
	"context"
	"fmt"
	"iter"
	"strings"
)

// Direct is a fixed list: every service has these instances.
type Direct []Instance

// Watch implements [Source].
func (d Direct) Watch(ctx context.Context, service string) iter.Seq2[Update, error] {
	return func(yield func(Update, error) bool) {
		all := make([]Instance, len(d))
		for i := range d {
			all[i] = d[i]
			all[i].Service = service
		}
		if yield(Update{Instances: all, Proven: true}, nil) {
			<-ctx.Done()
		}
	}
}

// openDirect opens direct:///10.0.0.1:80,10.0.0.2:80, with two or with three slashes.
func openDirect(l Location) (Source, error) {
	addresses := l.Hosts
	for a := range strings.SplitSeq(l.Path, ",") {
		if a = strings.TrimSpace(a); a != "" {
			addresses = append(addresses, a)
		}
	}
	if len(addresses) == 0 {
		return nil, fmt.Errorf("client: direct:///HOST:PORT,… names no address")
	}
	d := make(Direct, len(addresses))
	for i, a := range addresses {
		d[i] = Instance{ID: a, Address: a}
	}
	return d, nil
}
