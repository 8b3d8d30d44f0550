package forward

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"time"
)

const (
	// repeatWithin is how long after its first attempt a written request is sent again. The stores of
	// servers need a second to elect a leader.
	repeatWithin = 5 * time.Second
	// maxAttempts bounds the attempts of one request.
	maxAttempts = 30
	// silentFor is how long a server may take for its answer while there is one that was not tried: it
	// may be cut off from the others, and wait for a majority.
	silentFor = 2500 * time.Millisecond
	// roundPause is the pause after all servers were tried.
	roundPause = 500 * time.Millisecond
)

var (
	errSilent = errors.New("the server does not answer")
	errLate   = errors.New("the request took too long, and it is not known whether it was made: read what it should have changed")
)

// repeat sends a written request until a server answers it.
func (f *Forwarder) repeat(r *http.Request, p *passage) (*http.Response, error) {
	until, to, id := time.Now().Add(repeatWithin), p.to, p.kept.id
	f.epoch.date(&id)
	var tried []string
	untried := true // there may be a server that was not tried
	for n := 1; ; n++ {
		if untried {
			_, _, untried = f.cfg.Pick(append(tried, to.name)...)
		}
		resp, err := f.attempt(r, to, id, p.kept.body, untried)
		switch {
		case err == nil && f.epoch.learn(resp):
			resp.Body.Close()
			if id.Again {
				return nil, errLate // its record may have been swept
			}
			if n == maxAttempts {
				return nil, errNoServer
			}
			f.epoch.date(&id)
			continue
		case err == nil && !wantsAgain(resp), r.Context().Err() != nil, n == maxAttempts, time.Now().After(until):
			return resp, err
		}
		if err == nil {
			resp.Body.Close()
		}
		id.Again = id.Again || id.Dated && mayHaveMade(resp, err)
		if to, tried, err = f.next(r.Context(), to, tried); err != nil {
			return nil, err
		}
		f.repeated.Inc()
	}
}

// next returns the server to try after one that failed. When all have failed it begins anew, after
// a pause.
func (f *Forwarder) next(ctx context.Context, failed target, tried []string) (target, []string, error) {
	tried = append(tried, failed.name)
	if name, address, ok := f.cfg.Pick(tried...); ok {
		return target{name, address}, tried, nil
	}
	timer := time.NewTimer(roundPause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return target{}, nil, ctx.Err()
	}
	name, address, ok := f.cfg.Pick()
	if !ok {
		return target{}, nil, errNoServer
	}
	return target{name, address}, nil, nil
}

// mayHaveMade reports whether an attempt may have been made, or be made later.
func mayHaveMade(resp *http.Response, err error) bool {
	if err != nil {
		return !unreached(err)
	}
	return resp.StatusCode != http.StatusServiceUnavailable
}

// wantsAgain reports whether an answer says that another server, or this one later, may make the
// change: this one is starting, or its store has no majority.
func wantsAgain(resp *http.Response) bool {
	return resp.StatusCode == http.StatusServiceUnavailable || resp.StatusCode == http.StatusInternalServerError && resp.Header.Get("Retry-After") != ""
}

// attempt sends a request once, and returns its whole answer. bounded attempts end after silentFor.
func (f *Forwarder) attempt(r *http.Request, to target, id ID, body []byte, bounded bool) (*http.Response, error) {
	a := &answer{}
	a.ctx, a.end = context.WithCancelCause(r.Context())
	if bounded {
		silent := time.AfterFunc(silentFor, func() { a.end(errSilent) })
		defer silent.Stop()
	}
	out := r.Clone(a.ctx)
	out.URL.Host = to.address
	out.Header.Set(requestHeader, id.String())
	out.ContentLength, out.TransferEncoding, out.Body = int64(len(body)), nil, http.NoBody
	if len(body) > 0 {
		out.Body = io.NopCloser(bytes.NewReader(body))
	}
	resp, err := f.send(out)
	if err == nil {
		err = a.take(resp)
	}
	if err != nil {
		if errors.Is(context.Cause(a.ctx), errSilent) {
			err = errSilent
		}
		a.end(nil)
		return nil, err
	}
	return resp, nil
}

// answer is the body of a server's answer to an attempt. It is read before the answer counts: a
// server that dies in the middle of it has not answered. Of a large one the client reads the rest.
type answer struct {
	io.Reader
	inner io.Closer
	ctx   context.Context // of the attempt
	end   context.CancelCauseFunc
}

// take reads the answer and becomes its body.
func (a *answer) take(resp *http.Response) error {
	start, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		resp.Body.Close()
		return err
	}
	a.Reader, a.inner = io.MultiReader(bytes.NewReader(start), resp.Body), resp.Body
	resp.Body = a
	return nil
}

// Close implements [io.Closer].
func (a *answer) Close() error {
	err := a.inner.Close()
	a.end(nil)
	return err
}
