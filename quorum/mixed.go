package quorum

import (
	"io"
	"log"
	"net/http"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/etcdhttp"
	"go.etcd.io/etcd/server/v3/etcdserver/api/rafthttp"

	"github.com/skerryhq/skerry/mixed"
)

// mixedPeers is the listener of a member that takes connections of other members with TLS and without. etcd's own listeners
// take one kind each, and a port has one listener.
type mixedPeers struct{ server *http.Server }

// peerReadWithin is etcd's bound for the reading of a request of another member.
const peerReadWithin = 5 * time.Minute

// serveMixed serves the other members as etcd does.
func (m *member) serveMixed(conf *embed.Config) (*mixedPeers, error) {
	secure, err := conf.PeerTLSInfo.ServerConfig()
	if err != nil {
		return nil, err
	}
	secure.NextProtos = []string{"http/1.1"}
	inner, err := transport.NewListenerWithOpts(m.as.Listen, "http", transport.WithTimeout(rafthttp.ConnReadTimeout, rafthttp.ConnWriteTimeout))
	if err != nil {
		return nil, err
	}
	var p http.Protocols
	p.SetHTTP1(true)
	s := &http.Server{
		Handler: etcdhttp.NewPeerHandler(m.etcd.GetLogger(), m.etcd.Server), ReadTimeout: peerReadWithin, Protocols: &p,
		ErrorLog: log.New(io.Discard, "", 0), // as etcd: strangers must not fill the log
	}
	go s.Serve(mixed.NewListener(inner, secure))
	return &mixedPeers{s}, nil
}

func (p *mixedPeers) close() {
	if p != nil {
		p.server.Close()
	}
}
