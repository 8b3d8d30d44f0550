package node

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/hashicorp/serf/coordinate"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/forward"
	"github.com/skerryhq/skerry/pki"
	"github.com/skerryhq/skerry/roundtrip"
)

// placePath is where an agent tells a server its network coordinate, and learns those of the servers.
const placePath = "/v1/skerry/link/coordinate"

const (
	// maxPlace bounds the message, in bytes.
	maxPlace = 4 << 10
	// peersEvery is how often a server measures the others, and serversEvery how often an agent measures them: it asks one
	// of them each time, mostly over a new connection.
	peersEvery   = time.Minute
	serversEvery = 5 * time.Minute
)

// place is what an agent tells.
type place struct {
	At *coordinate.Coordinate `json:"at,omitempty"` // nil: it has measured nothing yet
}

// startDistances measures the round trips to the servers.
func startDistances(n *Node) (part, error) {
	tell, every := n.tellPeers, peersEvery
	if n.cfg.Role == AgentRole {
		if n.attached.attachment == nil {
			return part{}, nil
		}
		tell, every = n.tellServer, serversEvery
	}
	m := roundtrip.New(roundtrip.Config{Tell: tell, Measure: connects, Every: every, Registerer: n.metrics, Log: n.log})
	return part{run: loops(m.Run)}, nil
}

// connects returns the time of opening a connection, which is one round trip.
func connects(ctx context.Context, address string) (time.Duration, error) {
	var d net.Dialer
	began := time.Now()
	conn, err := d.DialContext(ctx, "tcp", address)
	trip := time.Since(began)
	if err == nil {
		conn.Close()
	}
	return trip, err
}

// tellPeers is how a server tells its coordinate.
func (n *Node) tellPeers(_ context.Context, at *coordinate.Coordinate) ([]roundtrip.Server, error) {
	if at != nil {
		n.store.decided.Coordinates.Update(n.cfg.Self.Name, at)
	}
	return n.placed(n.otherServers()), nil
}

// placed returns the servers that are alive, with their coordinates.
func (n *Node) placed(servers []skerry.Member) (out []roundtrip.Server) {
	for _, m := range servers {
		if m.Server && m.Alive {
			out = append(out, roundtrip.Server{Name: m.Name, Address: m.Address, At: n.store.decided.Coordinates.Get(m.Name)})
		}
	}
	return out
}

// tellServer is how an agent tells its coordinate. It measures the servers at the addresses by which it knows them.
func (n *Node) tellServer(ctx context.Context, at *coordinate.Coordinate) (servers []roundtrip.Server, err error) {
	if at != nil {
		n.store.decided.Coordinates.Update(n.cfg.Self.Name, at) // for answers about this agent alone
	}
	body, err := json.Marshal(place{at})
	if err == nil {
		body, err = n.attached.forwarder.Ask(ctx, placePath, n.agentToken(), body)
	}
	if err == nil {
		err = json.Unmarshal(body, &servers)
	}
	if err != nil {
		return nil, err
	}
	known := map[string]string{}
	for _, s := range n.attached.attachment.Servers() {
		known[s.Name] = s.Address
	}
	for i, s := range servers {
		if address := known[s.Name]; address != "" {
			servers[i].Address = address
		}
	}
	return servers, nil
}

// servePlace takes the coordinate of an agent, and answers with the servers.
func (n *Node) servePlace(w http.ResponseWriter, r *http.Request) {
	node := forward.From(r)
	if peer, secure := pki.Peer(r.TLS); secure && peer.Node != node {
		http.Error(w, "the certificate is for "+peer.String()+", and the message is from another node", http.StatusForbidden)
		return
	}
	var p place
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPlace))
	if err == nil {
		err = json.Unmarshal(body, &p)
	}
	if err == nil && p.At != nil && !(p.At.IsValid() && len(p.At.Vec) == int(coordinate.DefaultConfig().Dimensionality)) {
		err = skerry.Errorf(skerry.Invalid, "at: want a coordinate of 8 finite numbers")
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if by := n.judge(); by != nil {
		if err := by.MayWrite(forward.Token(r), skerry.ResourceNode, node); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
	}
	all := n.store.decided.Coordinates
	if p.At != nil {
		all.Update(node, p.At)
	}
	if n.cfg.Role != PeerRole && all.Get(n.cfg.Self.Name) == nil {
		all.Update(n.cfg.Self.Name, coordinate.NewCoordinate(coordinate.DefaultConfig())) // the only server is the origin
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(n.placed(n.served.cluster.Members()))
}
