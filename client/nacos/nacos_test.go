package nacos

import (
	"context"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/skerryhq/skerry/client"
	"github.com/skerryhq/skerry/client/nacos/nacostest"
	"github.com/skerryhq/skerry/client/sourcetest"
)

// within is how long a test waits for anything.
const within = 20 * time.Second

func source(t *testing.T, rawURL string) *Source {
	t.Helper()
	s, err := client.OpenSource(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	return s.(*Source)
}

func list(t *testing.T, tell <-chan sourcetest.Told, want string) sourcetest.Told {
	t.Helper()
	return sourcetest.List(t, tell, within, want)
}

func failure(t *testing.T, tell <-chan sourcetest.Told) error {
	t.Helper()
	return sourcetest.Until(t, tell, within, "an error", func(u sourcetest.Told) bool { return u.Err != nil }).Err
}

// eventually waits until what is right holds.
func eventually(t *testing.T, what string, right func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !right(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not so: %s", what)
		}
	}
}

// announce registers until the test ends.
func announce(t *testing.T, s *Source, i client.Instance) (client.Announcement, <-chan error) {
	t.Helper()
	reports := make(chan error, 10_000)
	a := &once{Announcement: s.Announce(i, 3*time.Second, func(err error) { reports <- err })}
	t.Cleanup(func() { a.Withdraw(context.Background(), 0) })
	return a, reports
}

// once is an announcement that the test may withdraw before its end does.
type once struct {
	client.Announcement
	withdrawn bool
}

func (a *once) Withdraw(ctx context.Context, drain time.Duration) (client.Withdrawal, error) {
	if a.withdrawn {
		return client.Withdrawal{}, nil
	}
	a.withdrawn = true
	return a.Announcement.Withdraw(ctx, drain)
}

// lasting is an instance as an operator makes one.
func lasting(ip string) nacostest.Instance {
	return nacostest.Instance{IP: ip, Port: 80, Weight: 1, Healthy: true, Enabled: true}
}

// Not parallel: nothing else may make goroutines. What the SDK has begun is ended when
// the last watch and the last announcement are, and no file was written.
func TestNothingIsLeft(t *testing.T) {
	t.Chdir(t.TempDir())
	server := nacostest.Start(t, nacostest.Options{})
	server.Put("", "", "orders", lasting("10.0.0.1"))
	c, err := client.Open("nacos://"+server.Addr(), client.WithCacheDir(""))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r, err := c.Register(client.Instance{Service: "web", Address: l.Addr().String()}, client.WithPropagation(0))
	if err != nil {
		t.Fatal(err)
	}
	<-r.Registered()
	for s := range c.Watch(t.Context(), "orders") {
		if len(s.Instances) == 1 {
			break
		}
	}
	if server.Connections() != 2 || len(ours()) == 0 {
		t.Errorf("%d connections, of goroutines %d", server.Connections(), len(ours()))
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	c.Close()
	eventually(t, "all connections are closed", func() bool { return server.Connections() == 0 })
	for deadline := time.Now().Add(within); len(ours()) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("goroutines are left:\n%s", strings.Join(ours(), "\n\n"))
		}
	}
	files, err := filepath.Glob("*")
	if err != nil || len(files) > 0 {
		t.Errorf("files %v, %v", files, err)
	}
}

// ours are the goroutines of this package and the SDK, and of clients of gRPC.
func ours() (out []string) {
	buffer := make([]byte, 4<<20)
	buffer = buffer[:runtime.Stack(buffer, true)]
	for stack := range strings.SplitSeq(string(buffer), "\n\n") {
		if strings.Contains(stack, "testing.tRunner") {
			continue
		}
		for _, part := range []string{"nacos-sdk-go/v2/", "skerry/client/nacos.", "http2Client", "grpc.(*ClientConn)", "grpc.(*addrConn)"} {
			if strings.Contains(stack, part) {
				out = append(out, stack)
				break
			}
		}
	}
	return out
}

func TestRegisterAndFind(t *testing.T) {
	t.Parallel()
	server := nacostest.Start(t, nacostest.Options{})
	s := source(t, "nacos://"+server.Addr())
	tell := sourcetest.Watch(t, s, "orders")
	list(t, tell, "")
	ours := client.Instance{
		ID: "orders/1", Service: "orders", Address: "10.0.0.1:80", Zone: "east-1", Weight: 3, Tags: []string{"v2", "a,b"},
		Meta: map[string]string{"team": "x"}, Started: time.Unix(1e9, 0).UTC(),
	}
	a, reports := announce(t, s, ours)
	if u := list(t, tell, "10.0.0.1:80"); !u.Instances[0].Equal(&ours) || u.Unsettled || u.Proven {
		t.Errorf("read back as %+v, want %+v", u.Instances[0], ours)
	}
	if err := <-reports; err != nil {
		t.Errorf("reported %v", err)
	}
	for _, labels := range server.Labels() {
		if labels["module"] != "naming" || labels["source"] != "sdk" {
			t.Errorf("labels %v", labels)
		}
	}
	// Nacos takes one instance of a service from a connection: each has its own.
	second, _ := announce(t, s, client.Instance{ID: "orders/2", Service: "orders", Address: "10.0.0.2:80"})
	list(t, tell, "10.0.0.1:80 10.0.0.2:80")
	if _, err := second.Withdraw(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	list(t, tell, "10.0.0.1:80")
	server.Break()
	failure(t, tell)
	list(t, tell, "10.0.0.1:80")
	server.Restart(t)
	if err := failure(t, tell); !strings.Contains(err.Error(), "client/nacos: watch orders: the connection is lost") {
		t.Errorf("told %v", err)
	}
	if u := list(t, tell, "10.0.0.1:80"); !u.Unsettled {
		t.Error("a server that was away vouches for its list")
	}
	if w, err := a.Withdraw(t.Context(), time.Minute); err != nil || w.Safe {
		t.Fatal(w, err)
	}
	list(t, tell, "")
	eventually(t, "all pushes are answered", func() bool { return server.Unanswered() == 0 })
}

// A server that was away has what it says believed after a while.
func TestSettles(t *testing.T) {
	t.Parallel()
	server := nacostest.Start(t, nacostest.Options{})
	s := source(t, "nacos://"+server.Addr())
	s.settle = 300 * time.Millisecond
	tell := sourcetest.Watch(t, s, "orders")
	believed := func(u sourcetest.Told) bool { return u.Err == nil && !u.Unsettled }
	sourcetest.Until(t, tell, within, "a list that is believed", believed)
	server.Restart(t)
	failure(t, tell)
	if u := list(t, tell, ""); !u.Unsettled {
		t.Error("believed at once")
	}
	sourcetest.Until(t, tell, within, "a list that is believed", believed)
}

// What an operator does is pushed, and read as it is meant.
func TestLists(t *testing.T) {
	t.Parallel()
	server := nacostest.Start(t, nacostest.Options{})
	tell := sourcetest.Watch(t, source(t, "nacos://"+server.Addr()), "orders")
	list(t, tell, "")
	first := nacostest.Instance{
		IP: "10.0.0.1", Port: 80, Weight: 1.2, Healthy: true, Enabled: true, ClusterName: "c1",
		Metadata: map[string]string{"team": "x", "skerry.tags": "no JSON"},
	}
	server.Put("", "", "orders", first)
	u := list(t, tell, "10.0.0.1:80")
	want := client.Instance{
		ID: "10.0.0.1#80#c1#DEFAULT_GROUP@@orders", Service: "orders", Address: "10.0.0.1:80", Zone: "c1", Weight: 2, Meta: first.Metadata,
	}
	if !u.Instances[0].Equal(&want) {
		t.Errorf("%+v, want %+v", u.Instances[0], want)
	}
	second := lasting("10.0.0.2")
	second.Healthy = false
	server.Put("", "", "orders", second)
	if u := list(t, tell, "10.0.0.1:80 10.0.0.2:80"); u.Instances[0].Draining || !u.Instances[1].Draining || u.Instances[1].Zone != "" {
		t.Errorf("%+v", u.Instances)
	}
	second.Healthy, second.Weight = true, 0
	server.Put("", "", "orders", second)
	sourcetest.Until(t, tell, within, "no weight", func(u sourcetest.Told) bool {
		return len(u.Instances) == 2 && u.Instances[1].Draining && u.Instances[1].Weight == 0
	})
	second.Weight = 0.1
	server.Put("", "", "orders", second)
	sourcetest.Until(t, tell, within, "a weight", func(u sourcetest.Told) bool {
		return len(u.Instances) == 2 && !u.Instances[1].Draining && u.Instances[1].Weight == 1
	})
	second.Enabled = false
	server.Put("", "", "orders", second)
	list(t, tell, "10.0.0.1:80")
	server.Remove("", "", "orders", "10.0.0.1", 80)
	list(t, tell, "")
}

// Namespaces, groups and clusters are apart, for who finds and who registers.
func TestApart(t *testing.T) {
	t.Parallel()
	server := nacostest.Start(t, nacostest.Options{})
	register := func(query, service, address, zone string) {
		announce(t, source(t, "nacos://"+server.Addr()+"/"+query), client.Instance{ID: address, Service: service, Address: address, Zone: zone})
	}
	register("", "orders", "10.0.0.1:80", "")
	register("", "orders", "10.0.0.2:80", "c2")
	register("?group=g", "orders", "10.0.0.3:80", "")
	register("", "g@@orders", "10.0.0.4:80", "")
	register("?namespace=n", "orders", "10.0.0.5:80", "")
	register("?namespace=n&group=g&cluster=c1,c2", "orders", "10.0.0.6:80", "")
	for _, c := range []struct{ query, service, want string }{
		{"", "orders", "10.0.0.1:80 10.0.0.2:80"},
		{"?namespace=public&group=DEFAULT_GROUP", "orders", "10.0.0.1:80 10.0.0.2:80"},
		{"?cluster=c2", "orders", "10.0.0.2:80"},
		{"?cluster=c2,DEFAULT", "orders", "10.0.0.1:80 10.0.0.2:80"},
		{"?group=g", "orders", "10.0.0.3:80 10.0.0.4:80"},
		{"", "g@@orders", "10.0.0.3:80 10.0.0.4:80"},
		{"?group=g", "DEFAULT_GROUP@@orders", "10.0.0.1:80 10.0.0.2:80"},
		{"?namespace=n", "orders", "10.0.0.5:80"},
		{"?namespace=n&group=g&cluster=c1", "orders", "10.0.0.6:80"},
	} {
		u := list(t, sourcetest.Watch(t, source(t, "nacos://"+server.Addr()+"/"+c.query), c.service), c.want)
		if i := u.Instances[0]; i.Service != c.service {
			t.Errorf("%s %s: of service %s", c.query, c.service, i.Service)
		}
	}
}

// Several services and watches go over one connection, and each hears of its own.
func TestOneConnection(t *testing.T) {
	t.Parallel()
	server := nacostest.Start(t, nacostest.Options{})
	s := source(t, "nacos://"+server.Addr())
	server.Put("", "", "a", lasting("10.0.0.1"))
	tellA, tellB := sourcetest.Watch(t, s, "a"), sourcetest.Watch(t, s, "b")
	list(t, tellA, "10.0.0.1:80")
	list(t, tellB, "")
	for range s.Watch(t.Context(), "a") {
		break // the other one's subscription goes on
	}
	for range s.Watch(t.Context(), "c") {
		break
	}
	server.Put("", "", "a", lasting("10.0.0.2"))
	server.Put("", "", "b", lasting("10.0.0.3"))
	list(t, tellA, "10.0.0.1:80 10.0.0.2:80")
	list(t, tellB, "10.0.0.3:80")
	if n := server.Connections(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// A server that asks its clients to go elsewhere loses them none of their calls.
func TestReset(t *testing.T) {
	t.Parallel()
	server := nacostest.Start(t, nacostest.Options{})
	s := source(t, "nacos://"+server.Addr())
	a, _ := announce(t, s, client.Instance{ID: "1", Service: "orders", Address: "10.0.0.1:80"})
	tell := sourcetest.Watch(t, s, "orders")
	list(t, tell, "10.0.0.1:80")
	set := server.Asked("ConnectionSetupRequest")
	server.Reset()
	eventually(t, "both connect anew", func() bool { return server.Asked("ConnectionSetupRequest") == set+2 })
	eventually(t, "both leave", func() bool { return server.Connections() == 2 && server.Unanswered() == 0 })
	for len(tell) > 0 {
		if u := <-tell; u.Err != nil || len(u.Instances) != 1 {
			t.Errorf("told %v", u)
		}
	}
	if n := len(server.Instances("", "", "orders")); n != 1 {
		t.Errorf("%d instances", n)
	}
	if _, err := a.Withdraw(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	list(t, tell, "")
}

// A server that keeps its connections and says nothing is away too.
func TestSilence(t *testing.T) {
	t.Parallel()
	server := nacostest.Start(t, nacostest.Options{})
	s := source(t, "nacos://"+server.Addr())
	_, reports := announce(t, s, client.Instance{ID: "1", Service: "orders", Address: "10.0.0.1:80"})
	tell := sourcetest.Watch(t, s, "orders")
	list(t, tell, "10.0.0.1:80")
	server.Hang(true)
	failure(t, tell)
	for err := range reports {
		if err != nil {
			break
		}
	}
	server.Hang(false)
	list(t, tell, "10.0.0.1:80")
	for err := range reports {
		if err == nil {
			break
		}
	}
}

func TestBadRegistrations(t *testing.T) {
	t.Parallel()
	server := nacostest.Start(t, nacostest.Options{})
	server.Put("", "", "kept", lasting("10.0.0.1"))
	s := source(t, "nacos://"+server.Addr())
	for _, c := range []struct {
		i    client.Instance
		want string
	}{
		{client.Instance{ID: "1", Service: "orders", Address: "10.0.0.1:http"}, "want a port in digits"},
		{client.Instance{ID: "1", Service: "orders", Address: "10.0.0.1:80", Zone: "a_b"}, "should be characters with only"},
		{client.Instance{ID: "1", Service: "kept", Address: "10.0.0.1:80"}, "is persistent service"},
	} {
		a, reports := announce(t, s, c.i)
		if err := <-reports; err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: reported %v, want %s", c.i, err, c.want)
		}
		if _, err := a.Withdraw(t.Context(), 0); err != nil {
			t.Error(err)
		}
	}
}
