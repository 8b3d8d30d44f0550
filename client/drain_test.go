package client_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerryhq/skerry/client"
	"github.com/skerryhq/skerry/client/clienttest"
)

// counting is a registry that takes a while to count the readers of an instance that drains.
type counting struct {
	*clienttest.Manual
	takes time.Duration
	w     client.Withdrawal
	drain time.Duration // that was asked for
}

type counted struct {
	client.Announcement
	r *counting
}

func (r *counting) Announce(i client.Instance, ttl time.Duration, report func(error)) client.Announcement {
	return counted{r.Manual.Announce(i, ttl, report), r}
}

func (c counted) Withdraw(ctx context.Context, drain time.Duration) (client.Withdrawal, error) {
	c.r.drain = drain
	time.Sleep(c.r.takes)
	_, err := c.Announcement.Withdraw(ctx, drain)
	return c.r.w, err
}

// A registration that ends waits for the registry's count, and logs it once. Where there is none it waits for the
// propagation.
func TestDrainWaitsForTheCount(t *testing.T) {
	const withdrawn, short = "all readers of its service have the list without it", "may call it still"
	for name, test := range map[string]struct {
		opts  []client.RegisterOption
		takes time.Duration
		w     client.Withdrawal
		drain time.Duration
		log   string
	}{
		"safe":     {nil, 700 * time.Millisecond, client.Withdrawal{Safe: true, Counted: true, Acked: 415, Gone: 3}, 30 * time.Second, withdrawn},
		"not safe": {[]client.RegisterOption{client.WithDrain(time.Minute)}, time.Minute, client.Withdrawal{Counted: true, Acked: 1, Pending: 2, Waiting: []string{"s3"}}, time.Minute, short},
		"no count": {nil, 0, client.Withdrawal{}, 30 * time.Second, ""},
		"no drain": {[]client.RegisterOption{client.WithDrain(0), client.WithPropagation(5 * time.Second)}, 0, client.Withdrawal{}, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				registry := &counting{Manual: &clienttest.Manual{}, takes: test.takes, w: test.w}
				c := client.New(registry, client.WithCacheDir(""), client.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
				defer c.Close()
				opts := append(test.opts, client.WithReady(func(context.Context) error { return nil }))
				r, err := c.Register(client.Instance{Service: "web", Address: "10.0.0.1:80"}, opts...)
				if err != nil {
					t.Fatal(err)
				}
				<-r.Registered()
				began := time.Now()
				if err := r.Close(); err != nil {
					t.Error(err)
				}
				want := test.takes
				switch name {
				case "no count":
					want = 2 * time.Second
				case "no drain":
					want = 5 * time.Second
				}
				if took := time.Since(began); took != want || registry.drain != test.drain {
					t.Errorf("it took %v with a drain of %v, want %v and %v", took, registry.drain, want, test.drain)
				}
				if n := strings.Count(log.String(), "drained"); test.log == "" && n != 0 || test.log != "" && (n != 1 || !strings.Contains(log.String(), test.log)) {
					t.Errorf("the log: %s", log.String())
				}
			})
		})
	}
}
