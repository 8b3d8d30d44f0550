// Package nacostest is a stand-in for a Nacos server, on loopback, for the tests of
// clients of Nacos. It speaks the naming part of the gRPC protocol of Nacos 2 (server
// check, connection setup, health check, registration of ephemeral instances alone and in
// batches, query, subscription with acknowledged pushes, list of services) and the login
// over HTTP.
//
//	s := nacostest.Start(t, nacostest.Options{})
//	c, err := client.Open("nacos://" + s.Addr())
//
// As Nacos does, it keeps the registrations of a connection as long as the connection,
// one entry for each service; it pushes a service's list to its subscribers after each
// change, and to a new one at once; it leaves out instances that are not enabled; it
// refuses clients without a valid token by an answer of the kind that was asked for, with
// code 403. Lasting instances are in services of their own.
//
// It does not have: a cluster, persistence, protection thresholds, selectors, the delay
// of half a second in which Nacos gathers pushes (and their repetition), the HTTP API but
// for the login, configurations.
package nacostest

import (
	"crypto/tls"
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
	"google.golang.org/grpc/credentials"
)

const grpcOffset = 1000

// Options configures a server.
type Options struct {
	// User and Password are required of clients, unless User is empty.
	User, Password string
	// TLS is the TLS of both ports; nil for plain text.
	TLS *tls.Config
}

// Server is one stand-in. Its methods may be called at any time.
type Server struct {
	o    Options
	addr string // of HTTP

	mu          sync.Mutex
	told        int64        // the time of the last list
	grpc        *grpc.Server // nil while it is stopped
	http        *http.Server
	connections map[string]*connection
	made        int // connections, over all
	lasting     map[service][]Instance
	known       map[service]bool
	requests    int // to clients
	tokens      map[string]bool
	logins      int
	asked       map[string]int // requests by kind
	hung        chan struct{}  // closed when it goes on; nil while it does
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

// Addr is its HTTP address for clients: host:port.
func (s *Server) Addr() string { return s.addr }

// Stop ends the server as a crash does: its connections break, and its data is lost.
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

// Break breaks all connections; their registrations are gone.
func (s *Server) Break() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.connections {
		c.end()
	}
}

// Hang leaves all requests without an answer, and the connections as they are, until it
// is called with false.
func (s *Server) Hang(hang bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if hang == (s.hung != nil) {
		return
	}
	if hang {
		s.hung = make(chan struct{})
		return
	}
	close(s.hung)
	s.hung = nil
}

// Reset asks all clients to connect anew, as Nacos does when an operator spreads them
// over the cluster. Their streams go on until they leave.
func (s *Server) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.connections {
		c.send(typeReset, marshal(reset{RequestID: s.expect(c), Module: moduleInternal}))
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

// Unanswered is how many pushes and requests to clients have not been answered.
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

// Labels are the labels that the connections sent of themselves.
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
	options := []grpc.ServerOption{grpc.StatsHandler(transports{s})}
	if s.o.TLS != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(s.o.TLS)))
		web = tls.NewListener(web, s.o.TLS)
	}
	s.grpc = grpc.NewServer(options...)
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
