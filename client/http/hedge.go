package skerryhttp

import (
	"context"
	"io"
	"net/http"

	"github.com/skerryhq/skerry/client/internal/hedge"
	"github.com/skerryhq/skerry/client/lb"
)

// leg is one of the two ways that a hedged call takes.
type leg struct {
	cancel context.CancelFunc
	resp   *http.Response
	err    error
}

// good reports whether the call has an answer that need not be waited for any more.
func (l *leg) good() bool { return l.err == nil && classify(l.resp) != lb.Failed }

// drop ends a leg whose answer nobody wants.
func (l *leg) drop() {
	l.cancel()
	if l.err == nil {
		l.resp.Body.Close()
	}
}

// hedged sends the request, and again to another instance if there is no answer in
// time. The first good answer counts, else the last.
func (c *calling) hedged(req *http.Request) (*http.Response, error) {
	return hedge.Do(c.t.o.hedge, c.s.hedges, func(again bool) *leg {
		ctx, cancel := context.WithCancel(req.Context())
		l := &leg{cancel: cancel}
		l.resp, l.err = c.send(req.WithContext(ctx), again)
		return l
	}, (*leg).good, (*leg).drop).answer(req)
}

// answer is the leg's answer, which ends the leg when it has been read.
func (l *leg) answer(req *http.Request) (*http.Response, error) {
	if l.err != nil {
		l.cancel()
		return nil, l.err
	}
	l.resp.Request = req
	l.resp.Body = &legBody{l.resp.Body, l.cancel}
	return l.resp, nil
}

type legBody struct {
	io.ReadCloser
	cancel context.CancelFunc
}

// Close implements [io.Closer].
func (b *legBody) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}
