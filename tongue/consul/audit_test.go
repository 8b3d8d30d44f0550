package consul_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/tongue/consul"
)

// noted is an audit log in memory.
type noted struct {
	mu   sync.Mutex
	acts []skerry.Act
}

func (n *noted) Wants(string, int) bool { return true }

func (n *noted) Note(act skerry.Act) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.acts = append(n.acts, act)
}

// The parts of a backend that a snapshot needs. It fails on its way.
type allKeys = consul.Keys

type failing struct{ allKeys }

func (failing) Sync(context.Context) error                       { return nil }
func (failing) Changed(string, bool) uint64                      { return 1 }
func (failing) Watch(string, bool) (uint64, <-chan struct{})     { return 1, nil }
func (failing) RestoreSnapshot(context.Context, io.Reader) error { panic("a fault of ours") }
func (failing) SaveSnapshot(w io.Writer, _ bool) (index uint64, err error) {
	w.Write([]byte("a part"))
	return 0, errors.New("the disk is gone")
}

// What is broken off, and what panics, is noted like the rest.
func TestAuditOfBrokenAnswers(t *testing.T) {
	log := &noted{}
	tongue, err := consul.New(consul.Config{}, consul.Backend{Keys: failing{}, Snapshots: failing{}, Audit: log}, consul.NewMetrics(prometheus.NewRegistry()))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		method string
		status int
	}{{http.MethodGet, 200}, {http.MethodPut, 500}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: the server does not hear of it", tc.method)
				}
			}()
			tongue.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(tc.method, "/v1/snapshot", http.NoBody))
		}()
		if len(log.acts) != 1 || log.acts[0].Method != tc.method || log.acts[0].Status != tc.status || log.acts[0].Reason != "the answer was broken off" {
			t.Errorf("%s: noted %+v", tc.method, log.acts)
		}
		log.acts = nil
	}
}
