package quorum

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
)

// Embedded says how the etcd member in this process runs. Zero values mean their
// defaults.
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
	// Forget makes it not wait for the disk: for data that nobody will miss.
	Forget bool
	Log    *slog.Logger
}

// DefaultQuota is the largest size of a member's data file in bytes, unless another is given.
const DefaultQuota = 8 << 30

const (
	defaultSpare = 128 << 20
	readyWithin  = 30 * time.Second
	tickMs       = 20
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
	etcd   *embed.Etcd
	client *clientv3.Client
	dead   *death
	spare  int64
	dir    string
}

// start runs an etcd member and returns when it answers.
func start(ctx context.Context, cfg Embedded) (*member, error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("the store's folder: %w", err)
	}
	if err := writable(cfg.Dir); err != nil {
		return nil, fmt.Errorf("the store's folder: %w", err)
	}
	if err := begin(cfg.Dir); err != nil {
		return nil, fmt.Errorf("the store's folder: %w", err)
	}
	m := &member{dead: newDeath(), spare: first(cfg.Spare, defaultSpare), dir: cfg.Dir}
	conf := etcdConfig(cfg, m.dead)

	// etcd ends its goroutine, or the process, on what it cannot mend. The log's
	// hook turns that into the end of this goroutine.
	started := make(chan error, 1)
	go func() {
		err := fmt.Errorf("etcd gave up")
		defer func() { started <- err }()
		m.etcd, err = embed.StartEtcd(conf)
	}()
	if err := <-started; err != nil {
		if reason := m.dead.reason(); reason != nil {
			err = reason
			_ = release(cfg.Dir) // or the next attempt finds the files locked
		}
		return nil, fmt.Errorf("start the store in %s: %w", cfg.Dir, err)
	}
	timer := time.NewTimer(readyWithin)
	defer timer.Stop()
	var err error
	select {
	case <-m.etcd.Server.ReadyNotify():
		if err = begun(cfg.Dir); err == nil {
			m.client = v3client.New(m.etcd.Server)
			return m, nil
		}
	case err = <-m.etcd.Err():
	case <-m.dead.happened:
		err = m.dead.reason()
	case <-timer.C:
		err = fmt.Errorf("no leader within %v", readyWithin)
	case <-ctx.Done():
		err = ctx.Err()
	}
	m.close()
	return nil, fmt.Errorf("start the store in %s: %w", cfg.Dir, err)
}

// etcdConfig is one member without any listener: nobody but this process speaks to it.
func etcdConfig(cfg Embedded, dead *death) *embed.Config {
	conf := embed.NewConfig()
	conf.Name = "skerry"
	conf.Dir = cfg.Dir
	nowhere := url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	conf.ListenPeerUrls, conf.ListenClientUrls = nil, nil
	conf.AdvertisePeerUrls, conf.AdvertiseClientUrls = []url.URL{nowhere}, []url.URL{nowhere}
	conf.InitialCluster = conf.InitialClusterFromName(conf.Name)
	// It waits for nobody else's vote: a start takes up to an election's time.
	conf.TickMs, conf.ElectionMs = tickMs, 10*tickMs
	conf.AutoCompactionMode, conf.AutoCompactionRetention = embed.CompactorModePeriodic, history
	conf.QuotaBackendBytes = first(cfg.Quota, DefaultQuota)
	conf.BootstrapDefragThresholdMegabytes = 256
	conf.MaxTxnOps, conf.MaxRequestBytes = maxOps, maxRequest
	conf.UnsafeNoFsync = cfg.Forget
	conf.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zapTo(cfg.Log, dead))
	return conf
}

// usable reports why nothing may be written now, or nil.
func (m *member) usable() error {
	if err := m.dead.reason(); err != nil {
		return err
	}
	if free, ok := freeSpace(m.dir); ok && free < m.spare {
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

// close stops the member. One that died may never stop; it is left behind.
func (m *member) close() {
	if m.client != nil {
		m.client.Close()
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		m.etcd.Close()
	}()
	select {
	case <-stopped:
	case <-m.dead.happened:
	}
}

func writable(dir string) error {
	f, err := os.CreateTemp(dir, ".probe-")
	if err != nil {
		return err
	}
	f.Close()
	return os.Remove(f.Name())
}

// death is the end of a member that could not go on.
type death struct {
	once     sync.Once
	happened chan struct{}
	err      error
	ofSpace  bool // the disk was full
}

func newDeath() *death { return &death{happened: make(chan struct{})} }

// died is closed when the store's member could not go on.
func (s *Store) died() <-chan struct{} {
	if s.member == nil {
		return nil
	}
	return s.member.dead.happened
}

// of notes the reason and ends the calling goroutine, which is etcd's.
func (d *death) of(reason error) {
	d.once.Do(func() {
		d.err = fmt.Errorf("the store stopped: %w; mend the cause and restart this server", reason)
		if d.ofSpace = noRoom(reason); d.ofSpace {
			d.err = fmt.Errorf("the store stopped: %w; make room on the disk: it is started again by itself when %d MiB are free", reason, startRoom>>20)
		}
		close(d.happened)
	})
	runtime.Goexit()
}

func (d *death) reason() error {
	select {
	case <-d.happened:
		return d.err
	default:
		return nil
	}
}

// first returns a, or b where a is the zero value.
func first[T comparable](a, b T) T {
	var zero T
	if a != zero {
		return a
	}
	return b
}
