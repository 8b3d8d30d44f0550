package exec

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/consul/api"
)

// script answers one question after the other, then waits until ctx ends.
type script struct {
	answers []answer
	asked   []string
	start   time.Time
}

type answer struct {
	index uint64
	pairs api.KVPairs
	err   error
}

func (s *script) List(prefix string, q *api.QueryOptions) (api.KVPairs, *api.QueryMeta, error) {
	s.asked = append(s.asked, fmt.Sprintf("%s@%s index %d after %v", prefix, q.Datacenter, q.WaitIndex, time.Since(s.start)))
	if len(s.answers) == 0 {
		<-q.Context().Done()
		return nil, nil, q.Context().Err()
	}
	a := s.answers[0]
	s.answers = s.answers[1:]
	return a.pairs, &api.QueryMeta{LastIndex: a.index}, a.err
}

func TestFollow(t *testing.T) {
	away := errors.New("away")
	synctest.Test(t, func(t *testing.T) {
		s := &script{start: time.Now(), answers: []answer{
			{err: away}, {err: away}, {index: 5, pairs: pairs("a/x", "1")},
			{index: 5},                            // the wait was over
			{err: away},                           // and the retries begin anew
			{index: 9, pairs: pairs("a/x", "2")},  // a change
			{index: 3, pairs: pairs("a/x", "3")},  // a server that counts anew
			{index: 3, pairs: pairs("a/x", "3b")}, // is asked for all of it once
		}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		var told []string
		follow(ctx, s, Prefix{"a/", "dc2"}, func(p api.KVPairs) { told = append(told, string(p[0].Value)) }, slog.New(slog.DiscardHandler))
		if want := []string{"1", "2", "3", "3b"}; !slices.Equal(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
		want := []string{
			"a/@dc2 index 0 after 0s", "a/@dc2 index 0 after 250ms", "a/@dc2 index 0 after 750ms",
			"a/@dc2 index 5 after 850ms", "a/@dc2 index 5 after 950ms", "a/@dc2 index 5 after 1.2s",
			"a/@dc2 index 9 after 1.3s", "a/@dc2 index 0 after 1.4s", "a/@dc2 index 3 after 1.5s",
		}
		if !slices.Equal(s.asked, want) {
			t.Errorf("asked\n%q, want\n%q", s.asked, want)
		}
	})
}
