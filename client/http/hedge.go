package skerryhttp

import (
	"context"
	"io"
	"net/http"

	"github.com/skerryhq/skerry/client/internal/hedge"
	"github.com/skerryhq/skerry/client/lb"
)

// leg is what one of the two ways brings that a hedged call takes.
type leg struct {
	resp *http.Response
	err  error
}

// good reports whether the call has an answer that need not be waited for any more.
func (l leg) good() bool { return l.err == nil && classify(l.resp) != lb.Failed }

func (l leg) drop() {
	if l.err == nil {
		l.resp.Body.Close()
	}
}

// hedged sends the request, and again to another instance if there is no answer in
// time. The first good answer counts, else the last.
func (c *calling) hedged(req *http.Request) (*http.Response, error) {
	l, done := hedge.Do(req.Context(), c.t.o.hedge, c.s.hedges, func(ctx context.Context, again bool) func() leg {
		req := req.Clone(ctx)
		return func() (l leg) {
			l.resp, l.err = c.send(req, again)
			return l
		}
	}, leg.good, leg.drop)
	if l.err != nil {
		done()
		return nil, l.err
	}
	l.resp.Request = req
	l.resp.Body = &legBody{l.resp.Body, done}
	return l.resp, nil
}

// legBody ends the leg when its answer has been read.
type legBody struct {
	io.ReadCloser
	cancel context.CancelFunc
}

// Close implements [io.Closer].
func (b *legBody) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}
