// Package nacostest is a stand-in for a Nacos server, on loopback, for the tests of what
// speaks with Nacos. It speaks the naming part of the gRPC protocol of Nacos 2 (server
// check, connection setup, health check, registration of ephemeral instances alone and
// in batches, query, subscription with acknowledged pushes, list of services) and the
// login over HTTP.
//
//	s := nacostest.Start(t, nacostest.Options{})
//	c, err := client.Open("nacos://" + s.Addr())
//
// As Nacos does, it keeps what a connection registered for as long as that connection,
// one entry for each service; it pushes a service's list to its subscribers after each
// change, and to a new one at once; it leaves out what is not enabled; it refuses without
// a valid token with an answer of the kind that was asked for, without an error code of
// its own for the connection.
//
// What it has not: a cluster, persistence, protection thresholds, selectors, the delay
// of half a second in which Nacos gathers pushes (and their repetition), the HTTP API
// but for the login, configurations.
package nacostest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	pb "github.com/nacos-group/nacos-sdk-go/v2/api/grpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"
	"google.golang.org/protobuf/types/known/anypb"
)

const grpcOffset = 1000

// Options are what a server may have.
type Options struct {
	// User and Password are wanted of clients; with an empty User, nobody is asked.
	User, Password string
}

// Server is one stand-in. Its methods may be called at any time.
type Server struct {
	o    Options
	addr string // of HTTP

	mu          sync.Mutex
	grpc        *grpc.Server // nil while it is stopped
	http        *http.Server
	connections map[string]*connection
	made        int // connections, over all
	lasting     map[service][]Instance
	known       map[service]bool
	pushes      int
	tokens      map[string]bool
	logins      int
	asked       map[string]int // requests by kind
}

// Start starts a server that ends with the test.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	s := &Server{o: o, asked: map[string]int{}, tokens: map[string]bool{}}
	s.forget()
	var err error
	for range 100 {
		// The kernel chooses a port, and the one for gRPC may be taken.
		if err = s.listen("127.0.0.1:0"); err == nil {
			t.Cleanup(s.Stop)
			return s
		}
	}
	t.Fatalf("nacostest: no two ports: %v", err)
	return nil
}

// Addr is where it listens for HTTP, as clients are told: host:port.
func (s *Server) Addr() string { return s.addr }

// Stop ends the server as a crash does: its connections break, and what it knew is lost.
func (s *Server) Stop() {
	s.mu.Lock()
	rpc, web := s.grpc, s.http
	s.grpc, s.http = nil, nil
	s.forget()
	s.mu.Unlock()
	if rpc != nil {
		rpc.Stop()
		web.Close()
	}
}

// Restart starts it again where it was, with nothing.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Stop()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		err := s.listen(s.addr)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("nacostest: restart: %v", err)
		}
	}
}

// Break breaks all connections; what was registered over them is gone.
func (s *Server) Break() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.connections {
		c.end()
	}
}

// Put lists a lasting instance, as an operator does over the HTTP API; one with the same
// IP and port is replaced. An empty namespace is public, an empty group DEFAULT_GROUP.
func (s *Server) Put(namespace, group, name string, i Instance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := keyOf(namespace, group, name)
	s.lasting[k] = append(without(s.lasting[k], i.IP, i.Port), completed(k, i, false))
	s.known[k] = true
	s.push(k)
}

// Remove takes a lasting instance away.
func (s *Server) Remove(namespace, group, name, ip string, port int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := keyOf(namespace, group, name)
	s.lasting[k] = without(s.lasting[k], ip, port)
	s.push(k)
}

func without(list []Instance, ip string, port int) []Instance {
	return slices.DeleteFunc(slices.Clone(list), func(i Instance) bool { return i.IP == ip && i.Port == port })
}

func keyOf(namespace, group, name string) service {
	if namespace == "" {
		namespace = "public"
	}
	if group == "" {
		group = "DEFAULT_GROUP"
	}
	return service{namespace, group, name}
}

// Instances are all of a service, enabled or not.
func (s *Server) Instances(namespace, group, name string) []Instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all(keyOf(namespace, group, name))
}

// Connections is how many there are now.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.connections)
}

// Unanswered is how many pushes have not been acknowledged.
func (s *Server) Unanswered() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.connections {
		n += len(c.unanswered)
	}
	return n
}

// Asked is how many requests of a kind came, such as "InstanceRequest", since the start.
func (s *Server) Asked(kind string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[kind]
}

// Labels are what the connections said of themselves.
func (s *Server) Labels() (out []map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.connections {
		out = append(out, maps.Clone(c.labels))
	}
	return out
}

// Revoke makes all tokens void.
func (s *Server) Revoke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
}

// forget begins with nothing.
func (s *Server) forget() {
	for _, c := range s.connections {
		c.end()
	}
	s.connections, s.lasting, s.known = map[string]*connection{}, map[service][]Instance{}, map[service]bool{}
}

func (s *Server) listen(addr string) error {
	web, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(web.Addr().String())
	if err != nil {
		return errors.Join(err, web.Close())
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return errors.Join(err, web.Close())
	}
	calls, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(number+grpcOffset)))
	if err != nil {
		return errors.Join(err, web.Close())
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /nacos/v1/auth/users/login", s.login)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addr = web.Addr().String()
	s.http = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	s.grpc = grpc.NewServer(grpc.StatsHandler(transports{s}))
	pb.RegisterRequestServer(s.grpc, calling{s})
	pb.RegisterBiRequestStreamServer(s.grpc, calling{s})
	go s.http.Serve(web)
	go s.grpc.Serve(calls)
	return nil
}

// login is POST /nacos/v1/auth/users/login.
func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.FormValue("username") != s.o.User || r.FormValue("password") != s.o.Password {
		http.Error(w, "unknown user!", http.StatusForbidden)
		return
	}
	s.logins++
	token := fmt.Sprintf("token-%d", s.logins)
	s.tokens[token] = true
	w.Header().Set("Content-Type", "application/json")
	w.Write(marshal(map[string]any{"accessToken": token, "tokenTtl": 18000, "globalAdmin": true, "username": s.o.User}))
}

// connection is one connection of a client's, to which all belongs that it registered.
type connection struct {
	id         string
	labels     map[string]string // nil before it is set up
	published  map[service][]Instance
	subscribed map[service]string // with the clusters
	unanswered map[string]bool    // pushes
	out        chan *pb.Payload
	ended      chan struct{}
}

// naming reports whether Nacos's naming part takes the connection as its client.
func (c *connection) naming() bool { return c.labels["module"] == moduleNaming }

// send queues a message of the stream. A client that takes none is cut off.
func (c *connection) send(kind string, body []byte) {
	select {
	case c.out <- payload(kind, body):
	default:
		c.end()
	}
}

// end makes the stream end. Called with s.mu held.
func (c *connection) end() {
	select {
	case <-c.ended:
	default:
		close(c.ended)
	}
}

func payload(kind string, body []byte) *pb.Payload {
	return &pb.Payload{Metadata: &pb.Metadata{Type: kind, ClientIp: "127.0.0.1"}, Body: &anypb.Any{Value: body}}
}

// transports names gRPC's connections, and notices their end.
type transports struct{ s *Server }

type connectionKey struct{}

func (h transports) TagConn(ctx context.Context, info *stats.ConnTagInfo) context.Context {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	h.s.made++
	return context.WithValue(ctx, connectionKey{}, fmt.Sprintf("%d_%s_%d", millis(), info.RemoteAddr, h.s.made))
}

func (h transports) HandleConn(ctx context.Context, event stats.ConnStats) {
	if _, ended := event.(*stats.ConnEnd); ended {
		h.s.drop(idOf(ctx))
	}
}

func (transports) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }
func (transports) HandleRPC(context.Context, stats.RPCStats)                       {}

func idOf(ctx context.Context) string {
	id, _ := ctx.Value(connectionKey{}).(string)
	return id
}

// drop forgets a connection, and what was registered over it.
func (s *Server) drop(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.connections[id]
	if c == nil {
		return
	}
	c.end()
	delete(s.connections, id)
	for k := range c.published {
		s.push(k)
	}
}

// calling is the gRPC services.
type calling struct{ s *Server }

// Request implements the service Request.
func (g calling) Request(ctx context.Context, p *pb.Payload) (*pb.Payload, error) {
	kind, id := p.GetMetadata().GetType(), idOf(ctx)
	s := g.s
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[kind]++
	if kind == "ServerCheckRequest" {
		out := ok()
		out.ConnectionID = id
		return payload("ServerCheckResponse", marshal(out)), nil
	}
	c := s.connections[id]
	if c == nil {
		return payload(typeErrorResponse, marshal(failed(codeUnregistered, "Connection is unregistered."))), nil
	}
	var r request
	if err := json.Unmarshal(p.GetBody().GetValue(), &r); err != nil {
		return payload(typeErrorResponse, marshal(failed(codeBadRequest, err.Error()))), nil
	}
	reply, out := s.answer(c, kind, &r, p.GetMetadata().GetHeaders()["accessToken"])
	out.RequestID = r.RequestID
	return payload(reply, marshal(out)), nil
}

// RequestBiStream implements the service BiRequestStream.
func (g calling) RequestBiStream(stream pb.BiRequestStream_RequestBiStreamServer) error {
	c := &connection{
		id: idOf(stream.Context()), published: map[service][]Instance{}, subscribed: map[service]string{},
		unanswered: map[string]bool{}, out: make(chan *pb.Payload, 1000), ended: make(chan struct{}),
	}
	go g.s.hear(c, stream)
	defer g.s.drop(c.id)
	for {
		select {
		case p := <-c.out:
			if err := stream.Send(p); err != nil {
				return err
			}
		case <-c.ended:
			return nil
		case <-stream.Context().Done():
			return nil
		}
	}
}

// hear takes the setup and the acknowledgements in.
func (s *Server) hear(c *connection, stream pb.BiRequestStream_RequestBiStreamServer) {
	for {
		p, err := stream.Recv()
		if err != nil {
			return
		}
		var r request
		if json.Unmarshal(p.GetBody().GetValue(), &r) != nil {
			continue
		}
		s.mu.Lock()
		s.asked[p.GetMetadata().GetType()]++
		switch p.GetMetadata().GetType() {
		case "ConnectionSetupRequest":
			if c.labels = r.Labels; c.labels == nil {
				c.labels = map[string]string{}
			}
			s.connections[c.id] = c
		case typeNotifyAnswer:
			delete(c.unanswered, r.RequestID)
		}
		s.mu.Unlock()
	}
}
