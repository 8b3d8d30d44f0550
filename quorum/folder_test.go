package quorum

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/test/testcert"
)

// A folder is of one server: another id is refused before anything is touched, another
// name or URL is taken over.
func TestAFolderIsOfOneServer(t *testing.T) {
	cfg := peerFor(t, "a")
	s := openAll(t, cfg)[0]
	if err := put(t, s, "k", []byte("v")); err != nil {
		t.Fatal(err)
	}
	s.Close()
	other := *cfg.Peers
	other.ID = "another id"
	_, err := Open(t.Context(), Embedded{Dir: cfg.Dir, Log: cfg.Log, Peers: &other})
	if !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), cfg.Dir) || !strings.Contains(err.Error(), cfg.Peers.ID) {
		t.Fatalf("another server opened it: %v", err)
	}
	cfg.Peers.Name = "b"
	s = openAll(t, cfg)[0]
	if r := s.Snapshot().Get("k"); r == nil || string(r.Value) != "v" {
		t.Errorf("under another name the key is %+v", r)
	}
	eventually(t, "the new name is in the list", func() bool { return membersOf(t, s).List()[0].Name == "b" })
	b, err := os.ReadFile(filepath.Join(cfg.Dir, claimFile))
	if err != nil || !strings.Contains(string(b), `"name":"b"`) || !strings.Contains(string(b), cfg.Peers.Advertise) {
		t.Errorf("%s is %s, %v", claimFile, b, err)
	}
}

func TestConfigurationsThatCannotBe(t *testing.T) {
	good := *peerFor(t, "a").Peers
	for want, spoil := range map[string]func(*Peers){
		"needs ID":        func(p *Peers) { p.ID = "" },
		"needs Name":      func(p *Peers) { p.Name = "" },
		"needs Listen":    func(p *Peers) { p.Listen = "" },
		"needs Advertise": func(p *Peers) { p.Advertise = "" },
		"own URL":         func(p *Peers) { p.Members = map[string]string{"b": "http://127.0.0.1:1"} },
		"a comma":         func(p *Peers) { p.Members = map[string]string{"a": p.Advertise, "b,c": "http://127.0.0.1:1"} },
		"https needs":     func(p *Peers) { p.Advertise = "https://127.0.0.1:1" },
	} {
		p, dir := good, t.TempDir()
		spoil(&p)
		_, err := Open(t.Context(), Embedded{Dir: dir, Log: slog.New(slog.DiscardHandler), Peers: &p})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%s: %v was made", want, left)
		}
	}
}

func TestTimesAndNamesForEtcd(t *testing.T) {
	p := peerFor(t, "a").Peers
	times := func(p *Peers) [2]uint {
		conf, err := etcdConfig(Embedded{Dir: t.TempDir(), Peers: p, Log: slog.New(slog.DiscardHandler)}, newDeath())
		if err != nil {
			t.Fatal(err)
		}
		if err := conf.Validate(); err != nil {
			t.Errorf("etcd refuses %+v: %v", p, err)
		}
		return [2]uint{conf.TickMs, conf.ElectionMs}
	}
	if got := times(nil); got != [2]uint{20, 200} {
		t.Errorf("alone: %v", got)
	}
	for multiplier, want := range map[int][2]uint{0: {100, 500}, 1: {100, 500}, 2: {100, 1000}, 10: {100, 1000}} {
		p.Multiplier = multiplier
		if got := times(p); got != want {
			t.Errorf("multiplier %d: %v, want %v", multiplier, got, want)
		}
	}
	list := []Member{{ID: "1", Name: "b", PeerURLs: []string{"http://b"}}, {ID: "2", PeerURLs: []string{"http://c"}}, {ID: "3", PeerURLs: []string{p.Advertise}}}
	if got, want := JoinList(list, p), map[string]string{"b": "http://b", "2": "http://c", "a": p.Advertise}; !maps.Equal(got, want) {
		t.Errorf("joining with %v, want %v", got, want)
	}
}

// A member that was removed while it was away stops with a typed error when it returns
// with its disk. With its data moved aside it joins anew, in the same process.
func TestARemovedMemberThatReturns(t *testing.T) {
	t.Parallel()
	configs := peersFor(t, 3)
	stores := openAll(t, configs...)
	fillKeys(t, stores[0], "k/", 100)
	at := leaderOf(t, stores)
	away, by := (at+1)%3, stores[at]
	kill(stores[away])
	if err := membersOf(t, by).Remove(t.Context(), stores[away].member.id()); err != nil {
		t.Fatal(err)
	}
	fillKeys(t, by, "k/", 200)

	cfg := configs[away]
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if s, err := Open(ctx, cfg); err == nil {
		kill(s)
		t.Fatal("a member that was removed opens its store")
	} else if !errors.Is(err, ErrRemoved) {
		t.Fatalf("not ErrRemoved: %v", err)
	}
	aside, err := MoveAside(cfg.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(aside, "member", "wal")); err != nil {
		t.Errorf("the data is not aside: %v", err)
	}
	if again, err := MoveAside(cfg.Dir); again != "" || err != nil {
		t.Errorf("once more: %q, %v", again, err)
	}
	hasKeys(t, grow(t, by, cfg), "k/", 200)
}

// The background opening takes a member that is removed while it runs to its open
// function again, which can join anew.
func TestARemovedMemberIsOpenedAnew(t *testing.T) {
	t.Parallel()
	configs := peersFor(t, 3)
	stores := openAll(t, configs[:2]...)
	ms := membersOf(t, stores[0])
	cfg := configs[2]
	tries := 0
	e := Eventually(nil, func(ctx context.Context) (*Store, error) {
		tries++
		s, err := Open(ctx, cfg)
		if errors.Is(err, ErrRemoved) {
			if _, err := MoveAside(cfg.Dir); err != nil {
				return nil, err
			}
			list, err := ms.AddLearner(ctx, cfg.Peers.Advertise)
			if err != nil {
				return nil, err
			}
			cfg.Peers.Join, cfg.Peers.Members = true, JoinList(list, cfg.Peers)
			return Open(ctx, cfg)
		}
		return s, err
	}, cfg.Log)
	defer e.Close()
	first := removeOpen(t, ms, e)
	eventually(t, "it is back as a learner", func() bool {
		s := e.store.Load()
		return s != first && len(ms.List()) == 3
	})
	if err := put(t, stores[0], "after", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := e.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if e.Snapshot().Get("after") == nil {
		t.Error("it does not follow")
	}
}

// A server with an empty disk comes back under its name with another id: its old member
// is removed, and it joins anew.
func TestAWipedServerUnderItsName(t *testing.T) {
	t.Parallel()
	configs := peersFor(t, 3)
	stores := openAll(t, configs...)
	fillKeys(t, stores[0], "k/", 500)
	at := leaderOf(t, stores)
	wiped, by := (at+1)%3, stores[at]
	eventually(t, "all have told their names", func() bool {
		for _, m := range membersOf(t, by).List() {
			if m.Name == "" {
				return false
			}
		}
		return true
	})
	kill(stores[wiped])
	cfg := configs[wiped]
	cfg.Dir = t.TempDir()
	cfg.Peers.ID = "a new id"
	if _, err := membersOf(t, by).AddLearner(t.Context(), cfg.Peers.Advertise); err == nil {
		t.Error("its URL was taken while its old member is in the list")
	}
	if err := membersOf(t, by).Remove(t.Context(), cfg.Peers.Name); err != nil {
		t.Fatal(err)
	}
	if err := membersOf(t, by).Remove(t.Context(), cfg.Peers.Name); err != nil {
		t.Errorf("removed twice: %v", err)
	}
	s := grow(t, by, cfg)
	hasKeys(t, s, "k/", 500)
	if list := membersOf(t, s).List(); len(list) != 3 {
		t.Errorf("members: %+v", list)
	}
}

// The only one that is left of three has no majority. Recovered, it has all keys, and
// others can be added.
func TestRecover(t *testing.T) {
	t.Parallel()
	configs := peersFor(t, 3)
	stores := openAll(t, configs...)
	fillKeys(t, stores[0], "k/", 500)
	for _, s := range stores {
		hasKeys(t, s, "k/", 500)
	}
	for _, s := range stores {
		kill(s)
	}
	if err := Recover(t.Context(), Embedded{Dir: t.TempDir(), Log: configs[0].Log, Peers: configs[0].Peers}); err == nil {
		t.Error("an empty folder was recovered")
	}
	began := time.Now()
	if _, err := PeersOf(t.TempDir()); skerry.KindOf(err) != skerry.NotFound {
		t.Errorf("the peers of an empty folder: %v", err)
	}
	peers, err := PeersOf(configs[0].Dir)
	if err != nil || peers.ID != configs[0].Peers.ID || peers.Name != configs[0].Peers.Name {
		t.Fatalf("the folder is of %+v, %v", peers, err)
	}
	if err := Recover(t.Context(), Embedded{Dir: configs[0].Dir, Log: configs[0].Log, Peers: peers}); err != nil {
		t.Fatal(err)
	}
	t.Logf("recovered after %v", time.Since(began))
	s := openAll(t, configs[0])[0]
	hasKeys(t, s, "k/", 500)
	if list := membersOf(t, s).List(); len(list) != 1 || !list[0].Self {
		t.Errorf("members: %+v", list)
	}
	next := peerFor(t, "n")
	hasKeys(t, grow(t, s, next), "k/", 500)
}

// After a crash a member's log has the last changes, and does not say yet that the majority
// agreed on them. A recovery must not drop them: test/e2e shows that they are there.
func TestTheLastChangesCount(t *testing.T) {
	t.Parallel()
	cfg := peerFor(t, "a")
	s := openAll(t, cfg)[0]
	fillKeys(t, s, "k/", 10)
	kill(s)
	dir := filepath.Join(cfg.Dir, "member", "wal")
	logged := func(lag uint64) (commit, last uint64) {
		t.Helper()
		snapshots, err := wal.ValidSnapshotEntries(zap.NewNop(), dir)
		if err != nil {
			t.Fatal(err)
		}
		w, err := wal.Open(zap.NewNop(), dir, snapshots[len(snapshots)-1])
		if err != nil {
			t.Fatal(err)
		}
		_, state, entries, err := w.ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		commit, last = state.GetCommit(), entries[len(entries)-1].GetIndex()
		if lag > 0 {
			term, vote := state.GetTerm(), state.GetVote()
			commit = last - lag
			err = w.Save(&raftpb.HardState{Term: &term, Vote: &vote, Commit: &commit}, nil)
		}
		if err := errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		return commit, last
	}
	logged(3)
	if commit, last := logged(0); commit != last-3 {
		t.Fatalf("the log is at %d of %d", commit, last)
	}
	for range 2 { // it can be repeated
		if err := commitAll(dir); err != nil {
			t.Fatal(err)
		}
		if commit, last := logged(0); commit != last {
			t.Errorf("after the recovery the log is at %d of %d", commit, last)
		}
	}
}

// peerFiles makes the certificate of members, and returns its files and the pair.
func peerFiles(t *testing.T) (*PeerTLS, tls.Certificate) {
	t.Helper()
	dir := t.TempDir()
	authority, own := testcert.Issue(t, dir, "peer")
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, authority, 0o600); err != nil {
		t.Fatal(err)
	}
	return &PeerTLS{CAFile: ca, CertFile: filepath.Join(dir, "peer.pem"), KeyFile: filepath.Join(dir, "peer.key"), ServerName: "127.0.0.1"}, own
}

// Members with TLS accept each other. They accept no connection without the members' certificate.
func TestMembersWithTLS(t *testing.T) {
	t.Parallel()
	files, own := peerFiles(t)
	configs := peersFor(t, 3)
	for i := range configs {
		p := configs[i].Peers
		p.TLS, p.Advertise = files, strings.Replace(p.Advertise, "http:", "https:", 1)
		p.Members[p.Name] = p.Advertise
	}
	stores := openAll(t, configs...)
	fillKeys(t, stores[0], "k/", 10)
	hasKeys(t, stores[2], "k/", 10)
	other := t.TempDir()
	_, stranger := testcert.Issue(t, other, "stranger")
	for name, certificates := range map[string][]tls.Certificate{"its own certificate": {own}, "none": nil, "a stranger's": {stranger}} {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{Certificates: certificates, InsecureSkipVerify: true}}}
		r, err := client.Get(configs[0].Peers.Advertise + "/version")
		if err == nil {
			r.Body.Close()
		}
		if accepted := err == nil; accepted != (name == "its own certificate") {
			t.Errorf("a client with %s is accepted: %v (%v)", name, accepted, err)
		}
	}
}

// A first start of one of several that is ended at any moment can be made again, and
// forgets no vote.
func TestAFirstStartOfSeveralThatWasEnded(t *testing.T) {
	t.Parallel()
	for _, early := range []time.Duration{0, 5, 20, 100, 400} {
		configs := peersFor(t, 3)
		opened := make(chan *Store, 2)
		for _, cfg := range configs[1:] {
			go func() { opened <- openOne(t, cfg) }()
		}
		ctx, cancel := context.WithTimeout(t.Context(), early*time.Millisecond)
		if s, err := Open(ctx, configs[0]); err == nil {
			kill(s)
		}
		cancel()
		s := openAll(t, configs[0])[0]
		for range 2 {
			if <-opened == nil {
				t.FailNow()
			}
		}
		if err := put(t, s, "k", nil); err != nil {
			t.Errorf("ended after %v ms: %v", int64(early), err)
		}
		if _, err := os.Stat(filepath.Join(configs[0].Dir, beginning)); err == nil {
			t.Error("the mark is left")
		}
	}
}

// removeOpen opens the store of member c, removes the member, and returns the store that
// died of it.
func removeOpen(t *testing.T, ms *Members, e *Eventual) *Store {
	t.Helper()
	if err := e.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := e.store.Load()
	eventually(t, "it has told its name", func() bool { _, err := find(ms.List(), "c"); return err == nil })
	if err := ms.Remove(t.Context(), "c"); err != nil {
		t.Fatal(err)
	}
	<-s.died()
	return s
}

// A store whose member was removed is closed by its keeper, and again when the process ends
// before another is open.
func TestARemovedMemberIsClosedTwice(t *testing.T) {
	t.Parallel()
	configs := peersFor(t, 3)
	stores := openAll(t, configs[:2]...)
	ms := membersOf(t, stores[0])
	cfg, opened := configs[2], false
	e := Eventually(nil, func(ctx context.Context) (*Store, error) {
		if opened {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		opened = true
		return Open(ctx, cfg)
	}, cfg.Log)
	removeOpen(t, ms, e)
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

// What etcd leaves of a first start that it refused does not count as a member's data.
func TestARefusedStartLeavesNoData(t *testing.T) {
	t.Parallel()
	configs := peersFor(t, 3)
	stores := openAll(t, configs[:2]...)
	ms, cfg := membersOf(t, stores[0]), configs[2]
	for _, m := range ms.List() {
		if slices.Contains(m.PeerURLs, cfg.Peers.Advertise) {
			if err := ms.Remove(t.Context(), m.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	list, err := ms.AddLearner(t.Context(), cfg.Peers.Advertise)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Peers.Join, cfg.Peers.Members = true, map[string]string{cfg.Peers.Name: cfg.Peers.Advertise} // not the list
	if s, err := Open(t.Context(), cfg); err == nil {
		s.Close()
		t.Fatal("it starts with a list that is not the cluster's")
	}
	if has, err := HasData(cfg.Dir); has || err != nil {
		t.Errorf("after a start that was refused it has data: %v, %v", has, err)
	}
	cfg.Peers.Members = JoinList(list, cfg.Peers)
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if has, err := HasData(cfg.Dir); !has || err != nil {
		t.Errorf("a member that runs has no data: %v, %v", has, err)
	}
}
