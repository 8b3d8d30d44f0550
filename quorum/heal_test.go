package quorum

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/skerryhq/skerry"
)

// asks makes a member's records come from others.
func asks(others ...*Store) Others {
	return func(ctx context.Context, key string, revision int64) (b []byte, err error) {
		err = errNoCopy
		for _, o := range others {
			if b, err = o.Copy(ctx, key, revision); err == nil {
				return b, nil
			}
		}
		return nil, err
	}
}

func putKey(t *testing.T, s *Store, key, value string) {
	t.Helper()
	if _, err := s.Update(t.Context(), func(tx skerry.Tx) error {
		tx.Put(key, []byte(value), 0)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// A record that is damaged on the disk of one member is read as it was written, at its index, and is mended there. What no
// other member has is an error until one does.
func TestADamagedRecordIsTakenFromAnotherMember(t *testing.T) {
	configs := peersFor(t, 3)
	stores := openAll(t, configs...)
	for key, value := range map[string]string{"kv/a": "the value of a", "kv/b": "the value of b", "acl/x": "the value of x"} {
		putKey(t, stores[0], key, value)
	}
	if err := stores[2].Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	was := stores[2].Snapshot().Get("kv/a")
	index := stores[2].Index()
	stores[2].Close()
	flipInFile(t, configs[2].Dir, "the value of a")
	flipInFile(t, configs[2].Dir, "the value of x")

	var silent, sound atomic.Bool
	configs[2].Others = func(ctx context.Context, key string, revision int64) ([]byte, error) {
		if silent.Load() {
			return nil, errors.New("no other server is there")
		}
		b, err := asks(stores[0], stores[1])(ctx, key, revision)
		if strings.HasSuffix(key, "acl/x") && !sound.Load() {
			b[len(b)-8] ^= 1 // it is damaged on its way
		}
		return b, err
	}
	s := openOne(t, configs[2])
	got := s.Snapshot().Get("kv/a")
	if got == nil || got.Damage != nil || string(got.Value) != "the value of a" || got.Modified != was.Modified || got.Created != was.Created {
		t.Errorf("healed: %+v, want %+v", got, was)
	}
	if r := s.Snapshot().Get("acl/x"); r.Damage == nil {
		t.Errorf("a copy that is damaged too was taken: %+v", r)
	}
	if n := testutil.ToFloat64(s.metrics.healed.WithLabelValues("kv")); n != 1 {
		t.Errorf("%v records of kv are healed", n)
	}
	if s.damage.count() != 1 || s.Index() < index {
		t.Errorf("%d are damaged, index %d after %d", s.damage.count(), s.Index(), index)
	}
	s.Close()

	// It was mended on disk: no other member is needed any more.
	silent.Store(true)
	s = openOne(t, configs[2])
	if got := s.Snapshot().Get("kv/a"); got == nil || string(got.Value) != "the value of a" {
		t.Errorf("after another start: %+v", got)
	}
	if r := s.Snapshot().Get("acl/x"); r == nil || r.Damage == nil {
		t.Fatalf("the other: %+v", r)
	}
	// A later answer is enough: the table is loaded anew.
	sound.Store(true)
	silent.Store(false)
	s.damage.news <- struct{}{} // not after 10 s
	eventually(t, "the record heals", func() bool {
		r := s.Snapshot().Get("acl/x")
		return r.Damage == nil && string(r.Value) == "the value of x"
	})
	putKey(t, stores[0], "kv/c", "after it")
	eventually(t, "changes are followed on", func() bool { r := s.Snapshot().Get("kv/c"); return r != nil })
	if s.damage.count() != 0 {
		t.Errorf("%d are damaged", s.damage.count())
	}
}

// The pointer, without which nothing is found, is healed too.
func TestADamagedPointerIsTakenFromAnotherMember(t *testing.T) {
	configs := peersFor(t, 3)
	stores := openAll(t, configs...)
	putKey(t, stores[0], "kv/a", "1")
	stores[2].Close()
	flipInFile(t, configs[2].Dir, `{"generation":`)
	configs[2].Others = asks(stores[:2]...)
	s := openOne(t, configs[2])
	if r := s.Snapshot().Get("kv/a"); r == nil || string(r.Value) != "1" {
		t.Errorf("%+v", r)
	}
}

func TestCopies(t *testing.T) {
	s := openAll(t, peersFor(t, 1)...)[0]
	putKey(t, s, "kv/a", "1")
	putKey(t, s, "kv/a", "2")
	g := s.generation.Load()
	newest := g.revision(s.Snapshot().Get("kv/a").Modified)
	for revision, there := range map[int64]bool{newest: true, newest - 1: true, newest + 1: false, 0: false, -1: false} {
		if b, err := s.Copy(t.Context(), g.prefix+"kv/a", revision); (err == nil) != there || (len(b) > 0) != there {
			t.Errorf("revision %d: %q, %v", revision-newest, b, err)
		}
	}
	for _, key := range []string{"kv/a", "", s.prefix, "other/kv/a", g.prefix + "kv/b"} {
		if b, err := s.Copy(t.Context(), key, newest); skerry.KindOf(err) != skerry.NotFound {
			t.Errorf("%q: %q, %v", key, b, err)
		}
	}
}
