package consul

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/skerryhq/skerry/client"
)

const (
	// A stream that is silent for twice the time that its server says is dead, or for
	// silentWithin if the server says none. Among several addresses that must be noticed
	// soon, as the next one has the list; with one there is no other to go to.
	pingAmong    = time.Second
	pingAlone    = 5 * time.Second
	silentWithin = 40 * time.Second
	// longLived streams begin the pauses between streams anew.
	longLived = 2 * time.Second
)

var (
	errNoStreams = errors.New("client/consul: the registry has no streams")
	errSilent    = errors.New("client/consul: the stream is silent")
	errStopped   = errors.New("client/consul: the caller stops")
)

// follower keeps the list of one service by streams, each from where the last one ended.
type follower struct {
	s       *Source
	service string
	view    *view
	yield   func(client.Update, error) bool

	at     uint32 // the address that is asked
	resume string // the last id
	retry  client.Backoff
}

// run yields what streams tell, until ctx ends, the caller stops, or streams are of no use: the
// registry has none, or a list is too large for them.
func (f *follower) run(ctx context.Context) error {
	f.at = f.s.api.at.Load()
	for failed := 0; ctx.Err() == nil; {
		began := time.Now()
		told, err := f.stream(ctx)
		if ctx.Err() != nil || errors.Is(err, errStopped) {
			return errStopped
		}
		var status *errStatus
		refused := errors.As(err, &status) && status.status < 500
		if errors.Is(err, errNoStreams) || refused && status.status == http.StatusNotFound {
			return errNoStreams
		}
		if errors.Is(err, errLine) {
			return err
		}
		if told {
			failed = 0
		}
		if told && time.Since(began) >= longLived {
			f.retry.Reset()
		}
		err = fmt.Errorf("%s: %w", f.host(), err)
		f.at++
		// The list is as good as ever while another address has it.
		if failed++; (refused || failed >= len(f.s.api.hosts)) && !f.yield(client.Update{}, err) {
			return errStopped
		}
		f.retry.Wait(ctx)
	}
	return errStopped
}

func (f *follower) host() string { return f.s.api.hosts[f.at%uint32(len(f.s.api.hosts))] }

// alone reports whether there is one address only.
func (f *follower) alone() bool { return len(f.s.api.hosts) == 1 }

// stream follows the service at one address until that fails. told reports whether it had the list.
func (f *follower) stream(ctx context.Context) (told bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ping := pingAmong
	if f.alone() {
		ping = pingAlone
	}
	silent := time.AfterFunc(2*ping, func() { cancel(errSilent) })
	defer silent.Stop()
	query := url.Values{"service": {f.service}, "ping": {ping.String()}}
	if f.resume != "" {
		query.Set("resume", f.resume)
	}
	resp, err := f.s.api.open(ctx, f.host(), http.MethodGet, "/v1/skerry/follow?"+query.Encode(), nil)
	if err != nil {
		return false, because(ctx, err)
	}
	defer resp.Body.Close()
	if kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";"); kind != "text/event-stream" {
		return false, errNoStreams
	}
	limit := silentWithin
	if every, err := time.ParseDuration(resp.Header.Get("X-Skerry-Ping")); err == nil && every > 0 {
		limit = 2 * every
	}
	silent.Reset(limit)
	in := newEvents(&heard{resp.Body, func() { silent.Reset(limit) }})
	for {
		e, err := in.next()
		if err == nil {
			err = f.take(&e, &told)
		}
		if err != nil {
			return told, because(ctx, err)
		}
	}
}

// because returns the reason why ctx ended in place of the error that came of it.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// heard calls each whenever something was read.
type heard struct {
	io.Reader
	each func()
}

func (h *heard) Read(b []byte) (int, error) {
	n, err := h.Reader.Read(b)
	if n > 0 {
		h.each()
	}
	return n, err
}

// take takes an event in, and yields what it means.
func (f *follower) take(e *event, told *bool) error {
	switch e.kind {
	case "view", "same":
		changed, err := f.view.take(e.data, e.kind == "same")
		if err != nil {
			f.resume, f.view.known = "", false // the next stream begins with a whole view
			return err
		}
		f.resume = e.id
		first := !*told
		if first {
			*told, f.view.stale = true, nil
			f.s.api.at.Store(f.at % uint32(len(f.s.api.hosts)))
		}
		if changed || first {
			return f.tell(f.view.update(), nil)
		}
	case "state":
		f.view.stale = staleness(e.data)
		if f.view.known {
			return f.tell(f.view.update(), nil)
		}
	case "unknown":
		err := fmt.Errorf("client/consul: the registry does not know the list of %s yet: %s", f.service, reason(e.data))
		if f.alone() {
			return f.tell(client.Update{}, err) // it will come
		}
		return err // another may know it
	case "error":
		return fmt.Errorf("client/consul: the registry ended the stream: %s", reason(e.data))
	}
	return nil
}

func (f *follower) tell(u client.Update, err error) error {
	if !f.yield(u, err) {
		return errStopped
	}
	return nil
}

// staleness reads the event "state"; nil means that the list is current.
func staleness(data []byte) error {
	var state struct{ Stale int64 }
	if err := json.Unmarshal(data, &state); err != nil || state.Stale <= 0 {
		return nil
	}
	return fmt.Errorf("client/consul: the agent has reached no server for %d s", state.Stale)
}

// reason reads the text of the events "unknown" and "error".
func reason(data []byte) string {
	var v struct{ Error string }
	if err := json.Unmarshal(data, &v); err != nil {
		return "it gives no reason"
	}
	return v.Error[:min(len(v.Error), maxReason)]
}

// leave logs the reason for which streams are left for blocking queries, once for a source.
func (s *Source) leave(service string, err error) {
	s.told.Do(func() {
		slog.Warn("the registry is followed by blocking queries, not by streams", "service", service, "reason", err)
	})
}
