package consul

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"

	"github.com/skerryhq/skerry"
)

// Snapshots save and bring back everything decided.
type Snapshots interface {
	// SaveSnapshot writes an archive and returns the index that it shows. With
	// queryTokens the sealed tokens of prepared queries are in it.
	SaveSnapshot(w io.Writer, queryTokens bool) (uint64, error)
	// RestoreSnapshot reads an archive whole before it changes anything.
	RestoreSnapshot(ctx context.Context, r io.Reader) error
}

func (q *request) snapshot() error {
	if err := q.p.query(); err != nil {
		return err
	}
	if q.r.Method == http.MethodPut {
		if err := q.t.b.Snapshots.RestoreSnapshot(q.r.Context(), q.r.Body); err != nil {
			var e *skerry.Error
			if errors.As(err, &e) && e.Kind == skerry.Invalid && e.Subject == "snapshot" {
				return badRequest(e.Message) // no client of Consul's knows it: it is too large
			}
			return serverError(err.Error())
		}
		q.empty()
		return nil
	}
	if err := q.synced(); err != nil {
		return err
	}
	index := q.t.b.Keys.Changed("", true)
	h := q.w.Header()
	h["Content-Type"] = []string{"application/x-gzip"}
	h["X-Consul-Index"] = []string{strconv.FormatUint(index, 10)}
	h["X-Consul-Knownleader"], h["X-Consul-Lastcontact"] = isTrue, zero
	// The status is sent with the first bytes: what fails later must break the
	// connection, so that nobody takes a part for the whole.
	w := &begun{Writer: q.w}
	if _, err := q.t.b.Snapshots.SaveSnapshot(w, q.p.has("tokens")); err != nil {
		if !w.begun {
			return err
		}
		q.t.cfg.Log.Error("send a snapshot", "error", err)
		panic(http.ErrAbortHandler)
	}
	return nil
}

// begun tells whether anything was written.
type begun struct {
	io.Writer
	begun bool
}

// Write implements [io.Writer].
func (w *begun) Write(b []byte) (int, error) {
	w.begun = true
	return w.Writer.Write(b)
}
