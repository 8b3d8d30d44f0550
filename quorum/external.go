package quorum

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/skerryhq/skerry"
)

// External configures the connection to an existing etcd cluster.
type External struct {
	Endpoints []string // host:port, or URLs
	Prefix    string   // of all our keys; default DefaultPrefix
	User      string
	Password  string
	TLS       *tls.Config // nil: none
	Log       *slog.Logger
}

const (
	dialWithin     = 5 * time.Second
	keepaliveEvery = 10 * time.Second
)

// Dial connects to an existing etcd cluster and returns its store.
func Dial(ctx context.Context, cfg External) (*Store, error) {
	if len(cfg.Endpoints) == 0 {
		return nil, skerry.Errorf(skerry.Invalid, "quorum.endpoints: name at least one etcd endpoint, like https://etcd-1:2379")
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints: cfg.Endpoints, Username: cfg.User, Password: cfg.Password, TLS: cfg.TLS,
		DialTimeout: dialWithin, DialKeepAliveTime: keepaliveEvery, DialKeepAliveTimeout: dialWithin,
		RejectOldCluster: true, Context: context.WithoutCancel(ctx),
		Logger: zap.New(&zapCore{log: cfg.Log}),
	})
	if err != nil {
		return nil, fmt.Errorf("quorum.endpoints: %w", err)
	}
	within, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	s, err := newStore(within, client, nil, first(cfg.Prefix, DefaultPrefix), nil, cfg.Log)
	if err != nil {
		client.Close()
		return nil, fmt.Errorf("quorum.endpoints: %w", err)
	}
	s.answered.Store(int64(time.Since(s.born)))
	s.run(s.listen)
	return s, nil
}

const (
	listenEvery = time.Second
	// answersWithin is how long after its last answer etcd counts as lost.
	answersWithin = 3 * time.Second
)

// listen asks etcd's majority each second until ctx ends, and notes when it answered.
func (s *Store) listen(ctx context.Context) {
	t := time.NewTicker(listenEvery)
	defer t.Stop()
	for {
		began := time.Since(s.born)
		asked, cancel := context.WithTimeout(ctx, answersWithin)
		if s.readIndex(asked) == nil {
			s.answered.Store(int64(began))
		}
		cancel()
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}
