package quorum

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/quorum/replica"
)

// pointerKey names the generation that counts. A restore writes a new generation
// beside the old one and then moves the pointer: it happens whole or not at all.
const pointerKey = "current"

// generation is a set of keys that lives and dies as one.
type generation struct {
	Name string `json:"generation"`
	// Base is added to etcd's revisions to make indexes, so that they go on
	// growing when the data of a longer history is restored into a young etcd.
	Base uint64 `json:"base"`
	// Steps names the commit in steps that is under way, and Decided means that it will
	// be made: see steps.go.
	Steps   string `json:"steps,omitempty"`
	Decided bool   `json:"decided,omitempty"`

	prefix   string
	pointer  int64 // revision of the pointer key
	unmarked bool  // the pointer has no checksum
}

func (g *generation) index(revision int64) uint64 { return uint64(revision) + g.Base }
func (g *generation) revision(index uint64) int64 {
	if index <= g.Base {
		return 0
	}
	return int64(index - g.Base)
}

func (s *Store) generationPrefix(name string) string { return s.prefix + "data/" + name + "/" }

func (s *Store) parseGeneration(kv *mvccpb.KeyValue) (*generation, error) {
	g := &generation{pointer: kv.ModRevision}
	value, how := decodeRecord(pointerKey, kv.Value, 0)
	if how == damaged {
		s.metrics.damaged.Inc()
		return nil, skerry.Damaged(s.prefix+pointerKey, s.file())
	}
	if err := json.Unmarshal(value, g); err != nil || g.Name == "" {
		return nil, fmt.Errorf("the key %s%s in etcd is not ours: %q", s.prefix, pointerKey, value)
	}
	g.unmarked = how == unmarked
	g.prefix = s.generationPrefix(g.Name)
	return g, nil
}

// pageSize is how many keys are read at once.
const pageSize = 10_000

// load fills the table and returns the revision that it holds.
func (s *Store) load(ctx context.Context) (int64, error) {
	if err := s.settle(ctx); err != nil {
		return 0, err
	}
	g, revision, err := s.pointed(ctx)
	if err != nil {
		return 0, err
	}
	if g == nil {
		if err := s.begin(ctx); err != nil {
			return 0, err
		}
		return s.load(ctx)
	}
	if g.unmarked {
		// It may not change for years, and all the rest hangs on it.
		if err := s.point(ctx, g.pointer, g); err != nil {
			return 0, err
		}
		return s.load(ctx)
	}
	return revision, s.take(ctx, g, revision)
}

// pointed returns the generation that counts, and the revision at which it was read; nil if there is no pointer yet.
func (s *Store) pointed(ctx context.Context) (g *generation, revision int64, err error) {
	r, err := s.get(ctx, s.prefix+pointerKey)
	if err != nil || len(r.Kvs) == 0 {
		return nil, 0, err
	}
	if g, err = s.parseGeneration(r.Kvs[0]); err != nil && s.others != nil {
		kv, unhealed := s.heal(ctx, s.prefix+pointerKey, pointerKey, r.Kvs[0].ModRevision)
		if unhealed != nil {
			return nil, 0, fmt.Errorf("%w; no other server gives it: %w", err, unhealed)
		}
		g, err = s.parseGeneration(kv)
	}
	return g, r.Header.Revision, err
}

// begin writes the pointer of a store that is new, unless another server does.
func (s *Store) begin(ctx context.Context) error {
	return s.point(ctx, 0, &generation{Name: "1"})
}

// point writes the pointer if it has the revision was; 0: if there is none.
func (s *Store) point(ctx context.Context, was int64, g *generation) error {
	_, err := s.propose(ctx, &proposal{[]clientv3.Cmp{s.pointsAt(was)}, []clientv3.Op{s.pointTo(g)}})
	return err
}

func (s *Store) pointsAt(revision int64) clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(s.prefix+pointerKey), "=", revision)
}

func (s *Store) pointTo(g *generation) clientv3.Op {
	value, err := json.Marshal(g)
	if err != nil {
		panic(err) // a name and a number: it cannot be
	}
	return clientv3.OpPut(s.prefix+pointerKey, encodeRecord(pointerKey, value, 0))
}

// take makes the table hold a generation as it was at a revision.
func (s *Store) take(ctx context.Context, g *generation, revision int64) error {
	// All is read before anything is replaced: a failure must not empty the table.
	all, err := s.records(ctx, s.get, g, revision)
	if err != nil {
		return err
	}
	s.healAll(ctx, g, all)
	s.generation.Store(g)
	s.held = nil
	s.damage.reset(all)
	s.tellDamage(all)
	if s.Table == nil {
		s.Table = replica.NewTable(g.index(revision))
	}
	s.Reset(g.index(revision), slices.Values(all))
	return nil
}

// reader reads keys as clientv3.KV.Get does: from the majority, or from one member.
type reader func(ctx context.Context, key string, options ...clientv3.OpOption) (*clientv3.GetResponse, error)

// records reads the records of a generation as they were at a revision.
func (s *Store) records(ctx context.Context, read reader, g *generation, revision int64) (all []*skerry.Record, err error) {
	for kv, err := range pages(ctx, read, g.prefix, revision) {
		if err != nil {
			return nil, err
		}
		if key, ok := s.own(kv.Key, g); ok {
			all = append(all, s.record(g, key, kv))
		}
	}
	return all, nil
}

// pages reads all keys below a prefix as they were at a revision.
func pages(ctx context.Context, read reader, prefix string, revision int64) iter.Seq2[*mvccpb.KeyValue, error] {
	return func(yield func(*mvccpb.KeyValue, error) bool) {
		end := clientv3.GetPrefixRangeEnd(prefix)
		for from := prefix; ; {
			r, err := read(ctx, from, clientv3.WithRange(end), clientv3.WithRev(revision), clientv3.WithLimit(pageSize))
			if err != nil {
				yield(nil, err)
				return
			}
			for _, kv := range r.Kvs {
				if !yield(kv, nil) {
					return
				}
			}
			if !r.More {
				return
			}
			from = string(r.Kvs[len(r.Kvs)-1].Key) + "\x00"
		}
	}
}

// record checks a record from etcd: all records of the table come this way.
func (s *Store) record(g *generation, key string, kv *mvccpb.KeyValue) *skerry.Record {
	r := &skerry.Record{
		Key: key, Lease: skerry.LeaseID(kv.Lease),
		Created: g.index(kv.CreateRevision), Modified: g.index(kv.ModRevision),
	}
	var how soundness
	switch r.Value, how = decodeRecord(key, kv.Value, r.Lease); how {
	case unmarked:
		s.metrics.unmarked.Inc()
	case damaged:
		r.Damage = skerry.Damaged(key, s.file())
		s.metrics.damaged.Inc()
	}
	return r
}

// tellDamage logs the records that are damaged, each once.
func (s *Store) tellDamage(all []*skerry.Record) {
	for _, r := range all {
		if r.Damage != nil && s.damage.tells(r.Key) {
			s.log.Error("a record is damaged in the store, and no other server has given it; its readers get an error until one does, or it is written anew or deleted", "key", r.Key, "file", s.path(), "index", r.Modified)
		}
	}
}

// follow applies etcd's changes, from after a revision on, until ctx ends.
func (s *Store) follow(ctx context.Context, revision int64) {
	for ctx.Err() == nil {
		var err error
		if revision, err = s.watch(ctx, revision); ctx.Err() != nil {
			return
		}
		again := errors.Is(err, errHealed)
		if !again {
			s.log.Warn("the store's watch broke off; the table stays as it is until it is back", "error", err)
		}
		if again || errors.Is(err, errBehind) {
			r, err := s.load(ctx)
			if err == nil {
				revision = r
				continue
			}
			s.log.Error("the store's table cannot be loaded anew", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// watch follows one watch to its end and returns how far it came.
func (s *Store) watch(ctx context.Context, revision int64) (int64, error) {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	responses := s.client.Watch(inner, s.prefix, clientv3.WithPrefix(), clientv3.WithRev(revision+1))
	for {
		var r clientv3.WatchResponse
		select {
		case <-s.reload:
			return revision, errHealed
		case next, ok := <-responses:
			if !ok {
				return revision, fmt.Errorf("etcd ended the watch")
			}
			r = next
		}
		if r.CompactRevision != 0 {
			return revision, errBehind
		}
		if err := r.Err(); err != nil {
			return revision, err
		}
		if err := s.apply(ctx, &r); err != nil {
			return revision, err
		}
		revision = max(revision, r.Header.Revision)
		if len(r.Events) > 0 {
			revision = max(revision, r.Events[len(r.Events)-1].Kv.ModRevision)
		}
	}
}

// stepped takes in a move of the pointer by a commit in steps. Changes since the first
// are shown with the last, at once.
func (s *Store) stepped(was, next *generation, revision int64) {
	switch {
	case next.Steps == "":
		s.Apply(next.index(revision), s.held)
		s.held = nil
	case was.Steps == "":
		s.Advance(next.index(revision))
	}
	s.generation.Store(next)
}

// apply takes in events. They come in the order of their revisions, and all of
// one revision in one response.
func (s *Store) apply(ctx context.Context, r *clientv3.WatchResponse) error {
	g := s.generation.Load()
	var changes []replica.Change
	for i, e := range r.Events {
		if key, ok := s.own(e.Kv.Key, g); ok {
			c := replica.Change{Key: key}
			if e.Type == mvccpb.PUT {
				c.Record = s.record(g, key, e.Kv)
			}
			s.damage.note(key, c.Record)
			if c.Record != nil && c.Record.Damage != nil && s.others == nil {
				s.tellDamage([]*skerry.Record{c.Record})
			}
			if g.Steps != "" {
				s.wentOn()
				c.At = g.index(e.Kv.ModRevision)
				s.held = append(s.held, c)
			} else {
				changes = append(changes, c)
			}
		} else if string(e.Kv.Key) == s.prefix+pointerKey && e.Type == mvccpb.PUT && e.Kv.ModRevision > g.pointer {
			next, err := s.parseGeneration(e.Kv)
			if err != nil {
				return err
			}
			if next.Name == g.Name {
				s.stepped(g, next, e.Kv.ModRevision)
				g, changes = next, nil
				s.wentOn()
				continue
			}
			s.log.Info("the store was restored from a snapshot", "generation", next.Name)
			if err := s.take(ctx, next, e.Kv.ModRevision); err != nil {
				return err
			}
			g, changes = next, nil
		} else if g.Steps != "" && strings.HasPrefix(string(e.Kv.Key), s.prefix+stagePrefix) {
			s.wentOn()
		}
		if g.Steps != "" {
			continue
		}
		if i+1 == len(r.Events) || r.Events[i+1].Kv.ModRevision != e.Kv.ModRevision {
			s.Apply(g.index(e.Kv.ModRevision), changes)
			changes = nil
		}
	}
	// A progress note means that there is no change of ours up to it.
	if r.IsProgressNotify() && g.Steps == "" {
		s.Advance(g.index(r.Header.Revision))
	}
	return nil
}
