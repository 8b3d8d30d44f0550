package link

import (
	"context"
	"fmt"
	"net/http"
)

// protocol is the protocol of streams, to which the connection of a request changes.
const protocol = "skerry-stream"

// accept serves a stream until serve returns.
func (l *Listener) accept(w http.ResponseWriter, r *http.Request, kind Kind, serve func(context.Context, *Stream)) {
	node, datacenter := r.Header.Get(nodeHeader), r.Header.Get(datacenterHeader)
	if datacenter == l.cfg.Self.Datacenter {
		datacenter = ""
	}
	if node == "" || len(node) > maxName || len(datacenter) > maxName {
		http.Error(w, nodeHeader+": name the node of this process", http.StatusBadRequest)
		return
	}
	if l.judges(r) {
		peer := l.cfg.TLS.Peer(r.TLS)
		if peer.Datacenter == l.cfg.Self.Datacenter {
			peer.Datacenter = ""
		}
		if peer.Node != node || peer.Datacenter != datacenter {
			http.Error(w, fmt.Sprintf("%s is %q in the datacenter %q, and the certificate is for %q in %q", nodeHeader, node, datacenter, peer.Node, peer.Datacenter), http.StatusForbidden)
			return
		}
	}
	if datacenter != "" && !kind.Far {
		http.Error(w, fmt.Sprintf("a process of the datacenter %q may not open a stream of the kind %s: join the servers of its own", datacenter, kind.Name), http.StatusForbidden)
		return
	}
	if l.cfg.Refuse != nil && datacenter == "" {
		if err := l.cfg.Refuse(node); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
	}
	if l.cfg.TLS != nil && r.TLS == nil {
		defer l.notePlain(node)()
	}
	with := func(ctx context.Context, s *Stream) {
		s.Node, s.Datacenter = node, datacenter
		serve(ctx, s)
	}
	w.Header().Set(nodeHeader, l.cfg.Self.Name)
	if r.ProtoMajor == 2 {
		acceptHTTP2(w, r, with)
		return
	}
	l.upgrade(w, r, datacenter, with)
}

// upgrade serves a stream over the connection of a request.
func (l *Listener) upgrade(w http.ResponseWriter, r *http.Request, datacenter string, serve func(context.Context, *Stream)) {
	if r.Header.Get("Upgrade") != protocol {
		http.Error(w, "Upgrade: ask for "+protocol, http.StatusUpgradeRequired)
		return
	}
	conn, io, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return // the connection has ended
	}
	defer l.release(conn)
	answers := answersWithin
	if datacenter != "" {
		answers = farWithin
	}
	ctx, ended := context.WithCancel(r.Context())
	s := newWire(conn, io.Reader, answers, ended)
	defer s.carrier.(*wire).end()
	w.Header().Set("Connection", "Upgrade")
	w.Header().Set("Upgrade", protocol)
	resp := http.Response{StatusCode: http.StatusSwitchingProtocols, ProtoMajor: 1, ProtoMinor: 1, Header: w.Header()}
	if resp.Write(conn) == nil {
		serve(ctx, s)
	}
}
