package node

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/catalog"
	"github.com/skerryhq/skerry/files"
	"github.com/skerryhq/skerry/follow/cache"
	"github.com/skerryhq/skerry/forward"
	"github.com/skerryhq/skerry/link"
	"github.com/skerryhq/skerry/pki"
	"github.com/skerryhq/skerry/tongue/consul"
	"github.com/skerryhq/skerry/wan"
)

// datacenters are the other datacenters at a server: the directory of their servers, and for each the services that are
// followed and the requests that are passed on.
type datacenters struct {
	*wan.Directory
	n      *Node
	dialer *link.Dialer
	ctx    context.Context // of the loops of caches; nil before run
	loops  sync.WaitGroup
	kept   []wan.Server // on disk

	mu sync.Mutex
	by map[string]*datacenter
}

// datacenter is another datacenter that was asked for.
type datacenter struct {
	followed  *cache.Cache
	forwarder consul.Forwarder
	passed    *forward.Forwarder // forwarder, without the token of the agent
}

// wanPath is where servers of other datacenters, and of this one, exchange the servers that they know.
const wanPath = "/v1/skerry/link/datacenters"

// startDatacenters connects this server with those of other datacenters.
func startDatacenters(n *Node) (part, error) {
	if n.listener == nil {
		if len(n.cfg.Cluster.JoinWAN) > 0 {
			n.log.Warn("this server joins no other datacenter: set ports.server, where their servers reach it")
		}
		return part{}, nil
	}
	kept, err := n.keptDatacenters()
	if err != nil {
		return part{}, err
	}
	c := n.cfg.Cluster
	d := &datacenters{kept: kept, n: n, dialer: n.newFarDialer(), by: map[string]*datacenter{}}
	d.Directory = wan.New(wan.Config{
		Self: n.wanServer(n.cfg.Self, n.address()), Join: c.JoinWAN, Kept: kept, RetryEvery: c.RetryWANEvery, Own: n.wanServers, Ask: d.ask,
		Registerer: n.metrics, Log: n.log,
	})
	n.far = d
	stop := func() error {
		d.dialer.Close()
		return nil
	}
	return part{run: loops(d.run, every(meetEvery, d.meet)), stop: stop}, nil
}

const (
	// farFile has the servers of other datacenters, and farFolder the services that were followed there, for the next start.
	farFile, farFolder = "datacenters.json", "datacenters"
	// mostKept bounds the file.
	mostKept = 200
)

// keptDatacenters returns the servers of other datacenters that this server knew before its start.
func (n *Node) keptDatacenters() (kept []wan.Server, err error) {
	if n.cfg.DataDir == "" {
		return nil, nil
	}
	if err := files.MakeFolder(n.serverFile(farFolder), 0o700); err != nil {
		return nil, fmt.Errorf("data_dir: %w", err)
	}
	_, err = readKept(n.serverFile(farFile), &kept, writtenAgain)
	return kept, err
}

// keep writes the servers of other datacenters to disk, where they have changed.
func (d *datacenters) keep() {
	now := d.Known()
	now = now[:min(len(now), mostKept)]
	if d.n.cfg.DataDir == "" || slices.Equal(now, d.kept) {
		return
	}
	if err := writeKept(d.n.serverFile(farFile), now); err != nil {
		d.n.log.Error("the list of the servers of other datacenters cannot be kept: make room, or mend the data folder", "error", err)
		return
	}
	d.kept = now
}

// copies returns the folder of the services that are followed in a datacenter; empty if none are kept. Where access is controlled
// the servers there answer.
func (d *datacenters) copies(name string) string {
	if d.n.cfg.DataDir == "" || d.n.cfg.ACL.Enabled {
		return ""
	}
	dir := d.n.serverFile(filepath.Join(farFolder, name))
	if err := files.MakeFolder(dir, 0o700); err != nil {
		d.n.log.Error("services of another datacenter are not kept on disk", "datacenter", name, "error", err)
		return ""
	}
	return dir
}

// meetEvery is how often it is looked for datacenters and servers that are new.
const meetEvery = time.Second

// meet opens the streams to new datacenters: the first question about a service there is answered from one.
func (d *datacenters) meet() {
	d.keep()
	for _, dc := range d.Datacenters() {
		d.get(dc.Name)
	}
}

// run asks the servers, and follows services at them, until ctx ends.
func (d *datacenters) run(ctx context.Context) {
	d.mu.Lock()
	d.ctx = ctx
	for _, dc := range d.by {
		d.follow(dc)
	}
	d.mu.Unlock()
	d.Run(ctx)
	d.mu.Lock()
	d.ctx = nil // no service is followed from now on
	d.mu.Unlock()
	d.loops.Wait()
}

// follow must be called with mu held.
func (d *datacenters) follow(dc *datacenter) {
	if ctx := d.ctx; ctx != nil {
		d.loops.Go(func() { dc.followed.Run(ctx) })
	}
}

func (n *Node) wanServer(s skerry.Self, address string) wan.Server {
	return wan.Server{Name: s.Name, ID: s.ID, Datacenter: n.cfg.Self.Datacenter, Address: address}
}

// wanServers returns the servers of this datacenter.
func (n *Node) wanServers() (out []wan.Server) {
	for _, m := range n.served.cluster.Members() {
		if m.Server {
			out = append(out, n.wanServer(m.Self, m.Address))
		}
	}
	return out
}

func (d *datacenters) ask(ctx context.Context, address string, w wan.Word) (answer wan.Word, err error) {
	body, err := json.Marshal(w)
	if err == nil {
		body, err = forward.Post(ctx, d.dialer.RoundTripper(), d.n.cfg.Self.Name, address, wanPath, body)
	}
	if err == nil {
		err = json.Unmarshal(body, &answer)
	}
	return answer, err
}

// serveWAN takes the word of another server, and answers with that of this one.
func (n *Node) serveWAN(w http.ResponseWriter, r *http.Request) {
	var word wan.Word
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, wan.MaxWord))
	if err == nil {
		err = json.Unmarshal(body, &word)
	}
	peer, secure := pki.Peer(r.TLS)
	if err == nil && secure && (peer.Kind != pki.Server || peer.Datacenter != word.From.Datacenter || peer.Node != word.From.Name) {
		http.Error(w, "the certificate is for "+peer.String()+", and the message is from another server", http.StatusForbidden)
		return
	}
	if err == nil {
		word, err = n.far.Hear(word)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(word)
}

// get returns a datacenter that is known; else nil.
func (d *datacenters) get(name string) *datacenter {
	if !d.Knows(name) {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if dc := d.by[name]; dc != nil {
		return dc
	}
	n, pick := d.n, func(not ...string) (string, string, bool) { return d.Pick(name, not...) }
	dc := &datacenter{
		followed: cache.New(cache.Config{
			Own: catalog.New(catalog.Config{FirstIndex: n.tableConfig().FirstIndex}), Pick: pick, Token: n.agentToken, Log: n.log.With("datacenter", name),
			Dir: d.copies(name),
			Dial: func(ctx context.Context, address string) (cache.Stream, error) {
				s, err := d.dialer.Dial(ctx, address, farFollowStream)
				if err != nil {
					return nil, err
				}
				return s, nil
			},
		}),
		passed: forward.New(forward.Config{Node: n.cfg.Self.Name, Pick: pick, Transport: d.dialer.RoundTripper(), Log: n.log.With("datacenter", name)}),
	}
	dc.forwarder = dc.passed
	if n.control != nil {
		dc.forwarder = withToken{dc.passed, n.control.tokens}
	}
	d.by[name] = dc
	d.follow(dc)
	return dc
}

// In implements [skerry.Datacenters].
func (d *datacenters) In(name string) skerry.Elsewhere {
	if dc := d.get(name); dc != nil {
		return dc.followed
	}
	return nil
}

// farDNS answers DNS questions about other datacenters, as the holder of secret sees them.
type farDNS struct {
	*datacenters
	secret func() string
}

// In implements [dns.Datacenters]. Where access is controlled the servers there decide.
func (f farDNS) In(name string) skerry.Elsewhere {
	if f.n.control != nil {
		return nil
	}
	return f.datacenters.In(name)
}

// AskDNS implements [dns.Datacenters].
func (f farDNS) AskDNS(ctx context.Context, name string, query []byte) ([]byte, error) {
	dc := f.get(name)
	if dc == nil {
		return nil, skerry.Errorf(skerry.NotFound, "No path to datacenter")
	}
	return dc.passed.Ask(ctx, dnsPath, f.secret(), query)
}

// Forwarder implements [consul.Datacenters].
func (d *datacenters) Forwarder(name string) consul.Forwarder {
	if dc := d.get(name); dc != nil && d.Reached(name) {
		return dc.forwarder
	}
	return nil
}
