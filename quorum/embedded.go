package quorum

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"

	"github.com/skerryhq/skerry/files"
)

// Embedded configures the etcd member in this process. Zero values mean their defaults.
type Embedded struct {
	// Dir is where it keeps its data; it must be this member's alone. Required.
	Dir string
	// Quota is the largest size of its data file in bytes; default 8 GiB. At the
	// quota, writes are refused and reads go on.
	Quota int64
	// Spare is the room on the disk, in bytes, under which writes are refused:
	// etcd stops for good when the disk is full. Default 128 MiB, two of its log
	// files.
	Spare int64
	// Forget makes it not wait for the disk: for data that may be lost.
	Forget bool
	// Peers makes it a member that can be one of several. nil: it is alone and has no
	// listener.
	Peers *Peers
	// Disk is given what the member's disk has, while one of several waits for a majority; nil:
	// nothing is shown until then.
	Disk *Disk
	// Others asks the other servers for records that are damaged on this one; nil: it is alone.
	Others Others `json:"-"`
	Log    *slog.Logger

	ops       uint   // that one transaction takes; 0: maxOps
	snapshots uint64 // changes between two snapshots on disk; 0: etcd's default
}

// DefaultQuota is the largest size of a member's data file in bytes, unless another is given.
const DefaultQuota = 8 << 30

const (
	defaultSpare = 128 << 20
	// readyWithin is how long the start of a member alone, or of a connection, may take,
	// and after how long one of several says that it waits for the others.
	readyWithin = 30 * time.Second
	// listedWithin is how long a change of the members may take to come to all of them.
	listedWithin = 2 * time.Second
	// maxOps and maxRequest bound one transaction. Consul's take 128 operations; a
	// session that ends may hold many more keys.
	maxOps     = 16384
	maxRequest = 10 << 20
	// history is for how long etcd keeps old versions: long enough for a follower
	// that was away for a moment.
	history = "5m"
)

// member is a running etcd in this process.
type member struct {
	etcd    *embed.Etcd
	client  *clientv3.Client
	dead    *death
	spare   int64
	dir     string
	log     *slog.Logger
	ops     uint // that one transaction takes
	leads   *leadership
	peers   bool // it can have others beside it
	as      *Peers
	mixed   *mixedPeers // its listener, where that takes both kinds of connections
	closing atomic.Bool
}

// start runs an etcd member and returns when it answers.
func start(ctx context.Context, cfg Embedded) (*member, error) {
	cfg.ops = cmp.Or(cfg.ops, maxOps)
	m := &member{ops: cfg.ops, dead: newDeath(), spare: first(cfg.Spare, defaultSpare), dir: cfg.Dir, log: cfg.Log, peers: cfg.Peers != nil, as: cfg.Peers}
	conf, err := etcdConfig(cfg, m.dead)
	if err != nil {
		return nil, err
	}
	if err := prepare(cfg); err != nil {
		return nil, fmt.Errorf("the store's folder: %w", err)
	}
	if err = checkData(cfg.Dir, cfg.Peers.several()); err == nil {
		err = m.launchListed(ctx, conf)
	}
	if err != nil {
		return nil, fmt.Errorf("start the store in %s: %w", cfg.Dir, err)
	}
	m.leads = watchLeader(m.etcd.Server, time.Duration(conf.ElectionMs)*time.Millisecond, m.peers, cfg.Log)
	if m.peers {
		err = m.awaitOthers(ctx, cfg.Disk)
	} else {
		err = m.awaitAlone(ctx)
	}
	if err == nil {
		err = begun(cfg.Dir)
	}
	if err != nil {
		m.close()
		return nil, fmt.Errorf("start the store in %s: %w", cfg.Dir, err)
	}
	return m, nil
}

// prepare makes the folder ready for the member's data.
func prepare(cfg Embedded) error {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return err
	}
	if err := writable(cfg.Dir); err != nil {
		return err
	}
	if cfg.Peers != nil {
		if err := claimFolder(cfg.Dir, cfg.Peers); err != nil {
			return err
		}
	}
	return begin(cfg.Dir, cfg.Peers != nil)
}

// launchListed is launch for a member that may be new in the cluster. etcd asks any other member
// for the list of members, and one that is behind does not have the new one in it yet.
func (m *member) launchListed(ctx context.Context, conf *embed.Config) error {
	for end := time.Now().Add(listedWithin); ; {
		err := m.launch(conf)
		unlisted := err != nil && conf.ClusterState == embed.ClusterStateFlagExisting && strings.Contains(err.Error(), errUnlisted)
		if !unlisted || time.Now().After(end) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(againEvery):
		}
	}
}

// errUnlisted is in etcd's error for a list of members of another length than that of the cluster.
const errUnlisted = "member count is unequal"

// launch starts etcd. etcd ends its goroutine, or the process, on an error that it cannot
// mend. The log's hook turns that into the end of this goroutine.
func (m *member) launch(conf *embed.Config) error {
	started := make(chan error, 1)
	go func() {
		err := fmt.Errorf("etcd gave up")
		defer func() { started <- err }()
		m.etcd, err = embed.StartEtcd(conf)
	}()
	if err := <-started; err != nil {
		if reason := m.dead.reason(); reason != nil {
			err = reason
			_ = release(m.dir) // or the next attempt finds the files locked
		}
		return asDamaged(err)
	}
	m.client = v3client.New(m.etcd.Server)
	if m.as != nil && m.as.Mixed {
		var err error
		if m.mixed, err = m.serveMixed(conf); err != nil {
			m.client.Close()
			m.etcd.Close()
			return err
		}
	}
	go m.awaitRemoval()
	go func() {
		<-m.etcd.Server.StoppingNotify()
		close(m.dead.over)
	}()
	return nil
}

// awaitRemoval notes when etcd stops by itself, which it does when the member was removed.
func (m *member) awaitRemoval() {
	select {
	case <-m.etcd.Server.StopNotify():
		if !m.closing.Load() {
			m.dead.note(ErrRemoved)
		}
	case <-m.dead.happened:
	}
}

// awaitAlone returns when a member without others is ready.
func (m *member) awaitAlone(ctx context.Context) error {
	timer := time.NewTimer(readyWithin)
	defer timer.Stop()
	select {
	case <-m.etcd.Server.ReadyNotify():
		return nil
	case <-m.dead.happened:
		return m.dead.reason()
	case <-timer.C:
		return fmt.Errorf("no leader within %v", readyWithin)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// awaitOthers returns when a member of several has an answer of the leader. It waits as
// long as ctx lasts: the others may be started much later, and they need this one.
func (m *member) awaitOthers(ctx context.Context, disk *Disk) error {
	server := m.etcd.Server
	if server.IsIDRemoved(uint64(server.MemberID())) {
		return ErrRemoved
	}
	waiting := time.AfterFunc(readyWithin, func() {
		m.log.Warn("the quorum store waits for a majority of its members", "members", len(server.Cluster().Members()))
	})
	defer waiting.Stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answered := make(chan error, 1)
	go func() { answered <- m.firstAnswer(ctx) }()
	alone := time.NewTimer(diskAfter)
	defer alone.Stop()
	for {
		select {
		case err := <-answered:
			return err
		case <-m.dead.happened:
			return m.dead.reason()
		case <-alone.C:
			m.showDisk(ctx, disk)
		}
	}
}

// showDisk shows what this member's disk has.
func (m *member) showDisk(ctx context.Context, disk *Disk) {
	if disk == nil {
		return
	}
	if err := disk.read(ctx, m); err != nil {
		m.log.Warn("there is no majority of the quorum store's members, and the table of the disk cannot be shown", "error", err)
		return
	}
	m.log.Info("there is no majority of the quorum store's members: the table of the disk is shown until there is")
}

// firstAnswer asks the leader until it answers. etcd's own sign that it is ready comes
// later where its first message to the leader is lost: after 6 s.
func (m *member) firstAnswer(ctx context.Context) error {
	for {
		asked := time.Now()
		err := m.etcd.Server.LinearizableReadNotify(ctx)
		if err == nil {
			m.leads.hear(asked)
		}
		if err == nil || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(againEvery):
		}
	}
}

// nowhere is the URL of a member without a listener.
var nowhere = url.URL{Scheme: "http", Host: "127.0.0.1:0"}

// etcdConfig is one member without a listener for clients: only this process uses it.
func etcdConfig(cfg Embedded, dead *death) (*embed.Config, error) {
	conf := embed.NewConfig()
	conf.Name = "skerry"
	conf.Dir = cfg.Dir
	conf.ListenPeerUrls, conf.ListenClientUrls = nil, nil
	conf.AdvertisePeerUrls, conf.AdvertiseClientUrls = []url.URL{nowhere}, []url.URL{nowhere}
	conf.InitialCluster = conf.InitialClusterFromName(conf.Name)
	conf.TickMs, conf.ElectionMs = tickAlone, electionAlone
	conf.MaxLearners = maxLearners
	conf.AutoCompactionMode, conf.AutoCompactionRetention = embed.CompactorModePeriodic, history
	conf.QuotaBackendBytes = first(cfg.Quota, DefaultQuota)
	conf.BootstrapDefragThresholdMegabytes = 256
	conf.MaxTxnOps, conf.MaxRequestBytes = cfg.ops, maxRequest
	conf.UnsafeNoFsync = cfg.Forget
	conf.SnapshotCount = first(cfg.snapshots, conf.SnapshotCount)
	conf.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zapTo(cfg.Log, dead))
	if cfg.Peers == nil {
		return conf, nil
	}
	if err := cfg.Peers.check(); err != nil {
		return nil, err
	}
	return conf, cfg.Peers.into(conf)
}

// usable reports why nothing may be written now, or nil.
func (m *member) usable() error {
	if err := m.dead.reason(); err != nil {
		return err
	}
	if _, free, ok := files.Space(m.dir); ok && free < m.spare {
		return &lowDisk{free: free, need: m.spare, dir: m.dir}
	}
	return nil
}

type lowDisk struct {
	free, need int64
	dir        string
}

func (e *lowDisk) Error() string {
	return fmt.Sprintf("the disk is nearly full: %d MiB are free in %s and the store keeps %d MiB in reserve; make room, reads go on meanwhile",
		e.free>>20, filepath.Base(e.dir), e.need>>20)
}

// close stops the member: one that leads hands that over first. One that died may never
// stop; it is left behind.
func (m *member) close() {
	m.closing.Store(true)
	if m.leads != nil {
		m.handOver()
		m.leads.close()
	}
	m.client.Close()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		m.etcd.Server.HardStop() // else etcd tries to hand over for another 6 s
		m.etcd.Close()
		m.mixed.close()
	}()
	dead := m.dead.happened
	if errors.Is(m.dead.reason(), ErrRemoved) {
		dead = nil // etcd itself is well
	}
	select {
	case <-stopped:
	case <-dead:
		m.unlisten()
	}
}

// unlisten closes the listener of a member that died, so that it can be started again.
func (m *member) unlisten() {
	for _, p := range m.etcd.Peers {
		_ = p.Close()
	}
	m.mixed.close()
}

func writable(dir string) error {
	f, err := os.CreateTemp(dir, ".probe-")
	if err != nil {
		return err
	}
	f.Close()
	return os.Remove(f.Name())
}

// first returns a, or b where a is the zero value.
func first[T comparable](a, b T) T {
	var zero T
	if a != zero {
		return a
	}
	return b
}
