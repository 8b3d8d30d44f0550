package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/decided"
	"github.com/skerryhq/skerry/decided/archive"
	"github.com/skerryhq/skerry/files"
	"github.com/skerryhq/skerry/quorum"
)

// Quorum configures the quorum store.
type Quorum struct {
	Endpoints []string // of an existing etcd cluster; empty: the role's own store
	Prefix    string   // of our keys in it; default "skerry/"
	User      string
	Password  string
	// PEM files for connections to it: the trusted authorities and the client certificate.
	CAFile, CertFile, KeyFile string
	Quota                     int64 // of the embedded member's data file in bytes; default 8 GiB
}

// tls returns the TLS configuration for the cluster. The endpoints determine whether
// TLS is used.
func (q *Quorum) tls() (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if q.CAFile != "" {
		pem, err := files.Read(q.CAFile, files.MaxPEM)
		if err != nil {
			return nil, fmt.Errorf("quorum.ca_file: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("quorum.ca_file: there is no PEM certificate in %s", q.CAFile)
		}
	}
	if q.CertFile != "" {
		cert, err := files.ReadKeyPair(q.CertFile, q.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("quorum.cert_file: %w", err)
		}
		conf.Certificates = []tls.Certificate{cert}
	}
	return conf, nil
}

// store is the quorum store and the packages that interpret its records.
type store struct {
	disk    *quorum.Disk
	kv      *quorum.Eventual
	none    bool // and never any: nothing is decided here
	decided *decided.Parts
}

// startMember begins to open this server's member of the store. Parts after it do not
// wait for that.
func startMember(n *Node) (part, error) {
	if n.cfg.DataDir == "" {
		return startTemporaryMember(n)
	}
	return n.startStore(func(ctx context.Context) (*quorum.Store, error) {
		dir := filepath.Join(n.cfg.DataDir, "quorum")
		if err := files.MakeFolder(dir, 0o700); err != nil {
			return nil, err
		}
		return quorum.Open(ctx, quorum.Embedded{Dir: dir, Quota: n.cfg.Quorum.Quota, Log: n.log})
	}, nil)
}

// startTemporaryMember is startMember in a folder that is removed at the end.
func startTemporaryMember(n *Node) (part, error) {
	dir := ""
	return n.startStore(func(ctx context.Context) (*quorum.Store, error) {
		if dir == "" {
			temp, err := os.MkdirTemp("", "skerry-dev-")
			if err != nil {
				return nil, err
			}
			dir = temp
		}
		return quorum.Open(ctx, quorum.Embedded{Dir: dir, Quota: n.cfg.Quorum.Quota, Forget: true, Log: n.log})
	}, func() {
		if dir != "" {
			os.RemoveAll(dir)
		}
	})
}

// noStore is the error of an agent that is not a server and has no cluster configured.
const noStore = "No known Consul servers: this agent has no quorum store; start it with -server or -dev, or name an etcd cluster in quorum.endpoints"

// startRemoteStore leaves an agent without a store unless an etcd cluster is configured.
func startRemoteStore(n *Node) (part, error) {
	if len(n.cfg.Quorum.Endpoints) == 0 {
		n.store.kv, n.store.none = quorum.Never(noStore), true
		return part{stop: n.store.kv.Close}, nil
	}
	return n.startStore(nil, nil)
}

// startStore begins to open the configured etcd cluster, else calls open.
func (n *Node) startStore(open func(context.Context) (*quorum.Store, error), forget func()) (part, error) {
	if q := n.cfg.Quorum; len(q.Endpoints) > 0 {
		open, forget = func(ctx context.Context) (*quorum.Store, error) {
			conf, err := q.tls()
			if err != nil {
				return nil, err
			}
			return quorum.Dial(ctx, quorum.External{Endpoints: q.Endpoints, Prefix: q.Prefix, User: q.User, Password: q.Password, TLS: conf, Log: n.log})
		}, nil
	}
	n.store.disk = quorum.NewDisk()
	n.store.kv = quorum.Eventually(n.store.disk, open, n.log)
	return part{stop: func() error {
		err := n.store.kv.Close()
		if forget != nil {
			forget()
		}
		return err
	}}, nil
}

// startDecided starts the packages that interpret the records of the store.
func startDecided(n *Node) (part, error) {
	var others skerry.Datacenters
	if n.far != nil {
		others = n.far
	}
	parts := decided.New(decided.Options{
		Datacenters: others,
		KV:          n.store.kv, Catalog: n.table, Announcer: n.table, Local: n.kept.agent, Self: n.cfg.Self.ID,
		Autopilot: n.cfg.Autopilot, ShortestTTL: n.cfg.SessionTTLMin, Sealer: &sealer{dir: n.cfg.DataDir}, MaxSnapshot: maxSnapshot(n.cfg.Quorum.Quota),
		Meta: archive.Meta{Software: "skerry " + n.cfg.Consul.Version, Datacenter: n.cfg.Self.Datacenter, Node: n.cfg.Self.Name},
		Log:  n.log,
	})
	n.store.decided = parts
	adopt := func(ctx context.Context) { n.kept.outside.move(ctx, parts.External.Adopt) }
	if n.store.none {
		return part{run: loops(adopt)}, nil
	}
	return part{run: loops(parts.Run, adopt)}, nil
}

// maxSnapshot is the largest size of a snapshot for a store with this quota. Values
// are in base64 in the archive.
func maxSnapshot(quota int64) int64 {
	if quota == 0 {
		quota = quorum.DefaultQuota
	}
	return 2 * quota
}
