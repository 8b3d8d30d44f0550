package skerryhttp

import (
	"context"
	"io"
	"net/http"
	"time"

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
	c.s.hedges.Earn()
	legs := make(chan *leg, 2)
	start := func(reread bool) {
		ctx, cancel := context.WithCancel(req.Context())
		go func() {
			l := &leg{cancel: cancel}
			l.resp, l.err = c.send(req.WithContext(ctx), reread)
			legs <- l
		}()
	}
	start(false)
	flying := 1
	late := time.NewTimer(c.t.o.hedge)
	defer late.Stop()
	for {
		select {
		case l := <-legs:
			if flying--; flying > 0 && !l.good() {
				l.drop()
				continue
			}
			if flying > 0 {
				go func() { (<-legs).drop() }()
			}
			return l.answer(req)
		case <-late.C:
			if c.s.hedges.Spend() {
				start(true)
				flying++
			}
		}
	}
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
