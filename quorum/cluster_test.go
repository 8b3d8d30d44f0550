package quorum

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"strconv"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/test/program"
)

// peersFor returns the configurations of n members that form a cluster, named a, b, ….
func peersFor(t testing.TB, n int) []Embedded {
	t.Helper()
	members := map[string]string{}
	var out []Embedded
	for i := range n {
		name := string(rune('a' + i))
		out = append(out, peerFor(t, name))
		members[name] = out[i].Peers.Advertise
	}
	for i := range out {
		out[i].Peers.Members, out[i].Peers.Round = members, "round of "+t.Name()
	}
	return out
}

// peerFor returns the configuration of one member with a folder and a port of its own.
func peerFor(t testing.TB, name string) Embedded {
	t.Helper()
	address := "127.0.0.1:" + strconv.Itoa(program.Port(t))
	return Embedded{
		Dir: t.TempDir(), Log: logTo(t, name),
		Peers: &Peers{ID: "id of " + name, Name: name, Listen: address, Advertise: "http://" + address},
	}
}

func logTo(t testing.TB, name string) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), nil)).With("member", name)
}

// openAll opens members at the same time. The test closes those that are still open.
func openAll(t testing.TB, configs ...Embedded) []*Store {
	t.Helper()
	out := make([]*Store, len(configs))
	var all sync.WaitGroup
	for i, cfg := range configs {
		all.Go(func() { out[i] = openOne(t, cfg) })
	}
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return out
}

func openOne(t testing.TB, cfg Embedded) *Store {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := Open(ctx, cfg)
	if err != nil {
		t.Errorf("open %s: %v", cfg.Peers.Name, err)
		return nil
	}
	t.Cleanup(func() { kill(s) })
	return s
}

// kill ends a member without a handover, once.
func kill(s *Store) {
	if m := s.member; !m.closing.Swap(true) {
		m.etcd.Server.HardStop()
		s.cancel()
		s.done.Wait()
		m.leads.close()
		m.client.Close()
		m.etcd.Close()
		m.mixed.close()
	}
}

func membersOf(t testing.TB, s *Store) *Members {
	t.Helper()
	ms, err := s.Members()
	if err != nil {
		t.Fatal(err)
	}
	return ms
}

// leaderOf returns the place of the leader among stores.
func leaderOf(t testing.TB, stores []*Store) int {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		for i, s := range stores {
			if server := s.member.etcd.Server; server.Leader() == server.MemberID() {
				return i
			}
		}
	}
	t.Fatal("no store leads")
	return 0
}

// eventually fails the test when something does not become true within a minute.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// fillKeys puts n keys below a prefix.
func fillKeys(t testing.TB, s *Store, prefix string, n int) {
	t.Helper()
	for from := 0; from < n; from += 100 {
		_, err := s.Update(t.Context(), func(tx skerry.Tx) error {
			for i := from; i < min(n, from+100); i++ {
				tx.Put(fmt.Sprintf("%s%06d", prefix, i), fmt.Append(nil, i), 0)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// hasKeys fails the test unless exactly the keys of fillKeys are there, by the strict way.
func hasKeys(t testing.TB, s *Store, prefix string, n int) {
	t.Helper()
	if err := s.Sync(t.Context()); err != nil {
		t.Fatalf("sync: %v", err)
	}
	now := s.Snapshot()
	for i := range n {
		if r := now.Get(fmt.Sprintf("%s%06d", prefix, i)); r == nil || string(r.Value) != fmt.Sprint(i) {
			t.Fatalf("key %d of %s is %+v", i, prefix, r)
		}
	}
	if got := count(now, prefix); got != n {
		t.Fatalf("%d keys of %s, want %d", got, prefix, n)
	}
}

// increment adds one to a counter.
func increment(ctx context.Context, s *Store, key string) error {
	_, err := s.Update(ctx, func(tx skerry.Tx) error {
		n := 0
		if r := tx.Get(key); r != nil {
			n, _ = strconv.Atoi(string(r.Value))
		}
		tx.Put(key, strconv.AppendInt(nil, int64(n+1), 10), 0)
		return nil
	})
	return err
}

// answeredBy is less than what etcd itself takes to give up a write to a leader that is
// gone: 6 s. Without other load it is below 2 s.
const answeredBy = 5 * time.Second

const sharedCounter = "n/shared"

// load is writers that increment counters until it is stopped.
type load struct {
	stop  chan struct{}
	all   sync.WaitGroup
	mu    sync.Mutex
	acked map[string]int // by counter
	last  map[*Store]time.Time
	gap   map[*Store]time.Duration // the longest time without a finished write
	slow  time.Duration            // the slowest write of a counter without contention
	fails []error
}

// loaded starts writers on stores: each has a counter of its own, and one for all.
func loaded(t testing.TB, writers int, stores ...*Store) *load {
	l := &load{stop: make(chan struct{}), acked: map[string]int{}, last: map[*Store]time.Time{}, gap: map[*Store]time.Duration{}}
	for at, s := range stores {
		for w := range writers {
			own := fmt.Sprintf("n/%d/%d", at, w)
			l.all.Go(func() { l.write(s, own, w%8 == 7) })
		}
	}
	return l
}

func (l *load) write(s *Store, own string, shared bool) {
	for n := 0; ; n++ {
		select {
		case <-l.stop:
			return
		default:
		}
		key := own
		if shared {
			key = sharedCounter
		}
		began := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		l.note(s, key, began, increment(ctx, s, key))
		cancel()
	}
}

func (l *load) note(s *Store, key string, began time.Time, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if key != sharedCounter {
		l.slow = max(l.slow, now.Sub(began))
	}
	if err != nil {
		l.fails = append(l.fails, err)
		return
	}
	l.acked[key]++
	if last, ok := l.last[s]; ok {
		l.gap[s] = max(l.gap[s], now.Sub(last))
	}
	l.last[s] = now
}

func (l *load) total() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, each := range l.acked {
		n += each
	}
	return n
}

// pauses returns the longest times without a finished write, by store, and the slowest
// write.
func (l *load) pauses() (map[*Store]time.Duration, time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.gap), l.slow
}

// reset forgets the pauses so far.
func (l *load) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.gap)
	l.slow = 0
}

// check ends the load and fails the test when a write failed, was lost or was made twice.
func (l *load) check(t testing.TB, s *Store) {
	t.Helper()
	close(l.stop)
	l.all.Wait()
	if len(l.fails) > 0 {
		t.Errorf("%d writes failed: %v", len(l.fails), l.fails[0])
	}
	if err := s.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	now, got := s.Snapshot(), map[string]int{}
	for r := range now.All(skerry.Below("n/"), "") {
		got[r.Key], _ = strconv.Atoi(string(r.Value))
	}
	if !maps.Equal(got, l.acked) {
		for key, n := range l.acked {
			if got[key] != n {
				t.Errorf("%s: %d increments were acknowledged, and it is %d", key, n, got[key])
			}
		}
	}
}

func value(c interface{ Write(*dto.Metric) error }) float64 {
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		panic(err)
	}
	return m.GetCounter().GetValue()
}
