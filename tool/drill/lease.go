package drill

import (
	"context"
	"net/http"
	"time"
)

// beats announces a program with a lease, and renews it until stop is called.
func (l *load) beats(m *member, id string) (stop func(), err error) {
	set := map[string]any{"Address": "127.0.0.1", "TTL": leaseTTL.String(), "Services": []any{registration(lease, id, 7000)}}
	announce := func() (digest string, err error) {
		var made struct{ Digest string }
		_, err = m.ask(l.ctx, http.MethodPut, "/v1/skerry/owner/"+id, set, &made)
		return made.Digest, err
	}
	digest, err := announce()
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(l.ctx)
	l.work.Go(func() {
		every := time.NewTicker(leaseTTL / 3)
		defer every.Stop()
		for {
			select {
			case <-every.C:
			case <-ctx.Done():
				return
			}
			var beaten struct{ Answer string }
			if _, err := m.ask(ctx, http.MethodPut, "/v1/skerry/owner/"+id+"/beat?digest="+digest, nil, &beaten); err != nil || beaten.Answer == "ok" {
				continue
			}
			if again, err := announce(); err == nil {
				digest = again
			}
		}
	})
	return stop, nil
}
