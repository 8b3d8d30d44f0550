package exec

import (
	"context"
	"log/slog"
	"time"

	"github.com/hashicorp/consul/api"
)

// Lister is the part of the API's client that is asked; [api.KV] is one.
type Lister interface {
	List(prefix string, q *api.QueryOptions) (api.KVPairs, *api.QueryMeta, error)
}

const (
	// gap is the least time between two questions: changes that come together
	// are one.
	gap = 100 * time.Millisecond
	// firstRetry doubles up to lastRetry while the servers do not answer.
	firstRetry = 250 * time.Millisecond
	lastRetry  = 30 * time.Second
)

// follow passes the pairs of a folder to tell, first the present ones, until ctx ends.
// While the servers do not answer it retries, and the last pairs stay valid.
func follow(ctx context.Context, kv Lister, p Prefix, tell func(api.KVPairs), log *slog.Logger) {
	var index uint64
	retry := firstRetry
	failing := false
	for {
		q := &api.QueryOptions{WaitIndex: index, Datacenter: p.Datacenter}
		pairs, meta, err := kv.List(p.Folder, q.WithContext(ctx))
		if ctx.Err() != nil {
			return
		}
		pause := gap
		switch {
		case err != nil:
			if !failing {
				log.Warn("keys cannot be read; trying on", "prefix", p.Folder, "error", err)
			}
			failing = true
			pause, retry = retry, min(2*retry, lastRetry)
		default:
			if failing {
				log.Info("keys can be read again", "prefix", p.Folder)
			}
			failing, retry = false, firstRetry
			if meta.LastIndex != index {
				tell(pairs)
			}
			if meta.LastIndex < index {
				meta.LastIndex = 0 // another server, which counts anew
			}
			index = meta.LastIndex
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}
