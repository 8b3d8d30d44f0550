package node

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/forward"
	"github.com/skerryhq/skerry/pki"
)

// copyPath is where a server gives another one a record of the quorum store.
const copyPath = "/v1/skerry/link/record"

const (
	// copyWithin bounds the wait for one server.
	copyWithin = time.Second
	maxCopyAsk = 64 << 10
)

// copyAsk asks for a record of the quorum store.
type copyAsk struct {
	Key      string
	Revision int64
}

// askCopy asks the other servers for a record that is damaged on this one.
func (n *Node) askCopy(ctx context.Context, key string, revision int64) ([]byte, error) {
	body, _ := json.Marshal(copyAsk{key, revision}) // plain strings
	err := errors.New("no other server is known")
	for _, m := range n.otherServers() {
		if !m.Alive {
			continue
		}
		var b []byte
		if b, err = n.askCopyOf(ctx, m.Address, body); err == nil {
			return b, nil
		}
	}
	return nil, err
}

func (n *Node) askCopyOf(ctx context.Context, address string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, copyWithin)
	defer cancel()
	return forward.Post(ctx, n.among.dialer.RoundTripper(), n.cfg.Self.Name, address, copyPath, body)
}

// serveCopy answers another server. Agents get no record: it may be that of a token.
func (n *Node) serveCopy(w http.ResponseWriter, r *http.Request) {
	if peer, known := pki.Peer(r.TLS); n.creds != nil && !(n.creds.moves() && r.TLS == nil) && !(known && peer.Kind == pki.Server) {
		http.Error(w, "records of the quorum store are for servers", http.StatusForbidden)
		return
	}
	var ask copyAsk
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxCopyAsk))
	if err == nil {
		err = json.Unmarshal(body, &ask)
	}
	if err != nil {
		http.Error(w, "a question for a record names its Key and Revision", http.StatusBadRequest)
		return
	}
	record, err := n.store.kv.Copy(r.Context(), ask.Key, ask.Revision)
	switch {
	case err != nil && skerry.KindOf(err) == skerry.NotFound:
		http.Error(w, err.Error(), http.StatusNotFound)
	case err != nil:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	default:
		w.Write(record)
	}
}
