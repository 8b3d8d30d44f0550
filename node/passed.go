package node

import (
	"io"
	"net"
	"net/http"
	"slices"

	"github.com/skerryhq/skerry/decided/once"
	"github.com/skerryhq/skerry/forward"
	"github.com/skerryhq/skerry/pki"
	"github.com/skerryhq/skerry/tongue/consul"
)

// dnsPath is where a server answers the DNS questions of agents.
const dnsPath = "/v1/skerry/link/dns"

// maxQuestion is the size of the largest message of DNS over TCP, in bytes.
const maxQuestion = 64 << 10

// passedOn answers the requests that agents pass on.
func (n *Node) passedOn(w http.ResponseWriter, r *http.Request) {
	if !n.fronts.made.Load() {
		http.Error(w, "this server is starting", http.StatusServiceUnavailable)
		return
	}
	// A browser on this network does not speak HTTP/2 without encryption, and sends no such header: a page cannot
	// make it pose as an agent.
	if r.ProtoMajor < 2 || forward.From(r) == "" {
		http.Error(w, "this port is for servers and agents: use that of the HTTP API", http.StatusForbidden)
		return
	}
	if n.fromFar(r) && slices.Contains([]string{drainPath, copyPath, placePath}, r.URL.Path) {
		http.Error(w, "this is for the processes of the datacenter "+n.cfg.Self.Datacenter, http.StatusForbidden)
		return
	}
	switch r.URL.Path {
	case resolvePath:
		n.resolve(w, r)
		return
	case wanPath:
		n.serveWAN(w, r)
		return
	case placePath:
		n.servePlace(w, r)
		return
	case drainPath:
		n.serveDrain(w, r)
		return
	case dnsPath:
		n.answerDNS(w, r)
		return
	case copyPath:
		n.serveCopy(w, r)
		return
	case replicationPath:
		n.serveReplication(w, r)
		return
	}
	if r = n.asked(w, r); r != nil {
		n.fronts.consul.ServeHTTP(w, r)
	}
}

// fromFar reports whether a request comes from a server of another datacenter, by its certificate.
func (n *Node) fromFar(r *http.Request) bool {
	peer, ok := pki.Peer(r.TLS)
	return ok && peer.Datacenter != n.cfg.Self.Datacenter
}

func (n *Node) answerDNS(w http.ResponseWriter, r *http.Request) {
	query, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxQuestion))
	if err == nil {
		query, err = n.dnsOf(forward.Token(r)).Answer(r.Context(), query)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Write(query)
}

// asked returns a request as the agent's client sent it, and one that may come again with its id. It
// returns nil if it answered the request.
func (n *Node) asked(w http.ResponseWriter, r *http.Request) *http.Request {
	a := consul.Asked{Node: forward.From(r)}
	id, is, err := forward.IDOf(r)
	if is && err == nil {
		r = forward.Carry(r, id)
	}
	if err == nil && is && id.Again {
		a.Body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, forward.MaxKept))
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return nil
	}
	kv := n.store.kv
	if is {
		present := once.Epoch(kv)
		if !(id.Dated && once.Current(id.Epoch, present)) && kv.Sync(r.Context()) == nil {
			present = once.Epoch(kv)
		}
		forward.SetEpoch(w.Header(), present)
		if !id.Dated || !once.Current(id.Epoch, present) {
			forward.RefuseEpoch(w)
			return nil
		}
		attempt := once.Begin(id.Epoch, id.Secret, r.Method, r.URL.RequestURI(), r.Header.Get("X-Consul-Token"), r.Header.Get("Authorization"))
		r = r.WithContext(once.With(r.Context(), attempt))
		a.Made = attempt.Made(kv)
	}
	r = consul.AskedAt(r, a)
	r.RemoteAddr = caller(r)
	return r
}

// caller returns the address of an agent's client, in the form of [http.Request.RemoteAddr]. Its port
// is not known. A client that used a unix socket has none.
func caller(r *http.Request) string {
	address := r.Header.Get("X-Forwarded-For")
	if address == "" {
		return "@"
	}
	return net.JoinHostPort(address, "0")
}
