package consul

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerryhq/skerry/tongue/consul/wire"
)

// The work of a filter ends when the client goes, and after filterWithin.
func TestSieveEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		q := &request{p: params{filter: strings.Repeat("ID == 1 or ", 999) + "ID == 1"}}
		q.r = (&http.Request{}).WithContext(ctx)
		rounds := func() (n int, err error) {
			s, err := q.newSieve(wire.Service{})
			if err != nil {
				t.Fatal(err)
			}
			for n < 100_000 && s.err == nil {
				s.keeps(wire.Service{ID: "x"})
				if n++; n%1000 == 0 {
					time.Sleep(time.Second)
				}
			}
			return n, s.err
		}
		var late *wire.Error
		if n, err := rounds(); !errors.As(err, &late) || n < 10_000 || n > 11_010 {
			t.Errorf("with time: %d values, %v", n, err)
		}
		stop()
		if n, err := rounds(); !errors.Is(err, context.Canceled) || n > filterPause/1000+1 {
			t.Errorf("without a client: %d values, %v", n, err)
		}
	})
}
