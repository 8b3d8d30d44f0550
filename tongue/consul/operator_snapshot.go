package consul

import (
	"errors"
	"io"
	"net/http"
	"strconv"

	"github.com/skerryhq/skerry"
)

func (q *request) snapshot() error {
	if err := q.p.query(); err != nil {
		return err
	}
	if q.r.Method == http.MethodPut {
		if err := q.f.b.Snapshots.RestoreSnapshot(q.r.Context(), q.r.Body); err != nil {
			var e *skerry.Error
			if errors.As(err, &e) && e.Kind == skerry.Invalid && e.Subject == "snapshot" {
				return badRequest(e.Message) // too large: clients of Consul know no other status for it
			}
			return serverError(err.Error())
		}
		q.empty()
		return nil
	}
	if err := q.synced(); err != nil {
		return err
	}
	index := q.f.b.Keys.Changed("", true)
	h := q.w.Header()
	h["Content-Type"] = []string{"application/x-gzip"}
	h["X-Consul-Index"] = []string{strconv.FormatUint(index, 10)}
	q.contact(h)
	// The status is sent with the first bytes. A later failure must break the connection,
	// so that the client does not take a part for the whole.
	w := &begun{Writer: q.w}
	if _, err := q.f.b.Snapshots.SaveSnapshot(w, q.p.has("tokens")); err != nil {
		if !w.begun {
			return err
		}
		q.f.cfg.Log.Error("send a snapshot", "error", err)
		panic(http.ErrAbortHandler)
	}
	return nil
}

// begun is a writer that notes whether anything was written.
type begun struct {
	io.Writer
	begun bool
}

// Write implements [io.Writer].
func (w *begun) Write(b []byte) (int, error) {
	w.begun = true
	return w.Writer.Write(b)
}
