package etcd

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/naming/endpoints"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/skerryhq/skerry/client"
	"github.com/skerryhq/skerry/client/sourcetest"
)

// Keys as go-zero writes them, found through a cluster of three of which one is dead
// from the start and another dies.
func TestThreeMembers(t *testing.T) {
	t.Parallel()
	members, hosts := cluster(t, 3, nil)
	admin := tool(t, hosts...)
	put(t, admin, "orders.rpc/7587880201467903757", "10.0.0.1:80")
	put(t, admin, "orders.rpc/v2/7587880201467903757", "10.9.9.9:80") // another service's
	members[0].stop()
	began := time.Now()
	tell := sourcetest.Watch(t, source(t, "etcd://"+strings.Join(hosts, ",")+"/"), "orders.rpc")
	u := list(t, tell, "10.0.0.1:80")
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("with one dead host it takes %v", took)
	}
	if i := u.Instances[0]; i.ID != "7587880201467903757" || i.Service != "orders.rpc" {
		t.Errorf("instance %+v", i)
	}
	if u.Revision == 0 || u.Epoch == "" || u.Proven || u.Unsettled {
		t.Errorf("update %+v", u.Update)
	}
	put(t, admin, "orders.rpc/2", "10.0.0.2:80")
	next := list(t, tell, "10.0.0.2:80 10.0.0.1:80")
	if next.Revision <= u.Revision || next.Epoch != u.Epoch {
		t.Errorf("revision %d of %s after %d of %s", next.Revision, next.Epoch, u.Revision, u.Epoch)
	}
	put(t, admin, "orders.rpc/2", "not an address")
	put(t, admin, "orders.rpc/3", "nor this")
	if u := until(t, tell, "a value that cannot be read", func(sourcetest.Told) bool { return true }); sourcetest.Addresses(u.Instances) != "10.0.0.2:80 10.0.0.1:80" {
		t.Errorf("a value that cannot be read makes it %s", sourcetest.Addresses(u.Instances))
	}
	// Two of three gone: no majority, and no list without one.
	members[1].stop()
	until(t, tell, "the loss of the majority", func(u sourcetest.Told) bool { return u.Err != nil })
	members[1].start(t)
	list(t, tell, "10.0.0.2:80 10.0.0.1:80")
	if _, err := admin.Delete(t.Context(), "orders.rpc/2"); err != nil {
		t.Fatal(err)
	}
	list(t, tell, "10.0.0.1:80")
}

// What a client knows survives a cluster that has lost everything.
func TestEmptyRestart(t *testing.T) {
	t.Parallel()
	members, hosts := cluster(t, 1, nil)
	admin := tool(t, hosts...)
	for n := range 4 {
		put(t, admin, fmt.Sprint("web/", n), fmt.Sprintf("10.0.0.%d:80", n))
	}
	s := source(t, "etcd://"+hosts[0])
	c := client.New(s, client.WithCacheDir(""), client.WithHold(100*time.Millisecond))
	defer c.Close()
	snapshots := make(chan client.Snapshot, 100)
	go func() {
		for s := range c.Watch(t.Context(), "web") {
			snapshots <- s
		}
	}()
	wait := func(what string, right func(client.Snapshot) bool) client.Snapshot {
		t.Helper()
		deadline := time.After(within)
		for {
			select {
			case s := <-snapshots:
				if right(s) {
					return s
				}
			case <-deadline:
				now, _ := c.Snapshot("web")
				t.Fatalf("no %s; now %+v", what, now)
			}
		}
	}
	wait("list", func(s client.Snapshot) bool { return len(s.Instances) == 4 && s.Freshness == client.Live })
	members[0].stop()
	if s := wait("freeze", func(s client.Snapshot) bool { return s.Freshness == client.Frozen }); len(s.Instances) != 4 || s.Err == nil {
		t.Errorf("while etcd is down: %+v", s)
	}
	members[0].conf.Dir = t.TempDir()
	members[0].start(t)
	members[0].ready(t)
	wait("answer of the empty etcd", func(s client.Snapshot) bool { return s.Freshness == client.Live && s.Held == 4 })
	time.Sleep(300 * time.Millisecond) // three holds
	put(t, admin, "web/9", "10.0.0.9:80")
	if s := wait("new instance", func(s client.Snapshot) bool { return len(s.Instances) > 4 }); len(s.Instances) != 5 || s.Held != 4 {
		t.Errorf("etcd has lost its data, and the list is %+v", s)
	}
}

// A history that is compacted while nobody watches costs nothing.
func TestCompaction(t *testing.T) {
	t.Parallel()
	_, hosts := cluster(t, 1, nil)
	admin := tool(t, hosts...)
	put(t, admin, "web/1", "10.0.0.1:80")
	s := source(t, "etcd://"+hosts[0])
	s.acquire()
	defer s.release()
	c, err := s.connection()
	if err != nil {
		t.Fatal(err)
	}
	var last client.Update
	f := &follower{s: s, service: "web", prefix: "web/", yield: func(u client.Update, err error) bool {
		if last = u; u.Revision != 2 {
			return false
		}
		// Between the inventory and the watch.
		put(t, admin, "web/2", "10.0.0.2:80")
		put(t, admin, "web/2", "10.0.0.3:80")
		if _, err := c.Compact(t.Context(), 4); err != nil {
			t.Error(err)
		}
		return true
	}}
	if watched, err := f.follow(t.Context()); f.enough || err == nil || !strings.Contains(err.Error(), "forgotten") {
		t.Fatalf("watched %v: %v, want that the past is forgotten", watched, err)
	}
	if f.follow(t.Context()); sourcetest.Addresses(last.Instances) != "10.0.0.1:80 10.0.0.3:80" {
		t.Errorf("then the inventory is %s", sourcetest.Addresses(last.Instances))
	}
}

func TestRegister(t *testing.T) {
	t.Parallel()
	members, hosts := cluster(t, 1, nil)
	admin := tool(t, hosts...)
	s := source(t, "etcd://"+hosts[0]+"/prod")
	tell := sourcetest.Watch(t, s, "web")
	instance := client.Instance{ID: "web/1", Service: "web", Address: "10.0.0.1:80"}
	reports := make(chan error, 1000)
	a := s.Announce(instance, 2*time.Second, func(err error) { reports <- err })
	if u := list(t, tell, "10.0.0.1:80"); u.Instances[0].ID != "web/1" {
		t.Errorf("registered as %+v", u.Instances[0])
	}
	if err := <-reports; err != nil {
		t.Errorf("reported %v", err)
	}
	found, err := admin.Get(t.Context(), "prod/web/web%2F1")
	if err != nil || len(found.Kvs) != 1 || found.Kvs[0].Lease == 0 {
		t.Fatalf("key %+v, %v", found, err)
	}
	// The lease is gone, then the key, then all of etcd's data.
	if _, err := admin.Revoke(t.Context(), clientv3.LeaseID(found.Kvs[0].Lease)); err != nil {
		t.Fatal(err)
	}
	list(t, tell, "")
	list(t, tell, "10.0.0.1:80")
	if _, err := admin.Delete(t.Context(), "prod/web/web%2F1"); err != nil {
		t.Fatal(err)
	}
	list(t, tell, "")
	list(t, tell, "10.0.0.1:80")
	members[0].stop()
	until(t, tell, "the stop", func(u sourcetest.Told) bool { return u.Err != nil })
	members[0].conf.Dir = t.TempDir()
	members[0].start(t)
	list(t, tell, "10.0.0.1:80")
	if _, err := a.Withdraw(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	list(t, tell, "")
}

// A renewal that fails is told of at once, and made again after a pause: etcd's client
// would ask again and again for as long as the lease lives.
func TestRenewalsWithoutEtcd(t *testing.T) {
	t.Parallel()
	members, hosts := cluster(t, 1, nil)
	reports := make(chan error, 10_000)
	const ttl = 12 * time.Second // renewed every 4 s
	a := source(t, "etcd://"+hosts[0]).Announce(client.Instance{ID: "1", Service: "web", Address: "10.0.0.1:80"}, ttl, func(err error) { reports <- err })
	defer a.Withdraw(t.Context(), 0)
	if err := <-reports; err != nil {
		t.Fatal(err)
	}
	members[0].stop()
	stopped := time.Now()
	for err := range reports {
		if err != nil {
			break
		}
	}
	if took := time.Since(stopped); took > ttl*2/3 {
		t.Errorf("told after %v", took)
	}
	time.Sleep(2 * time.Second)
	if n := len(reports); n == 0 || n > 5 {
		t.Errorf("%d attempts in 2 s, want one a second", n)
	}
}

// The layout of etcd's own package, written and read by it.
func TestEndpoints(t *testing.T) {
	t.Parallel()
	_, hosts := cluster(t, 1, nil)
	admin := tool(t, hosts...)
	manager, err := endpoints.NewManager(admin, "web")
	if err != nil {
		t.Fatal(err)
	}
	theirs := endpoints.Endpoint{Addr: "10.0.0.1:80", Metadata: map[string]any{"zone": "a", "weight": 3, "team": "x"}}
	if err := manager.AddEndpoint(t.Context(), "web/rack/1", theirs); err != nil {
		t.Fatal(err)
	}
	s := source(t, "etcd://"+hosts[0]+"/?layout=endpoints")
	tell := sourcetest.Watch(t, s, "web")
	u := list(t, tell, "10.0.0.1:80")
	if i := u.Instances[0]; i.ID != "rack/1" || i.Zone != "a" || i.Weight != 3 || i.Meta["team"] != "x" {
		t.Errorf("instance %+v", i)
	}
	ours := client.Instance{
		ID: "rack/2", Service: "web", Address: "10.0.0.2:80", Zone: "b", Weight: 2, Tags: []string{"v2"},
		Meta: map[string]string{"team": "y"}, Started: time.Unix(1e9, 0).UTC(),
	}
	a := s.Announce(ours, 10*time.Second, func(error) {})
	defer a.Withdraw(t.Context(), 0)
	if u := list(t, tell, "10.0.0.1:80 10.0.0.2:80"); !u.Instances[1].Equal(&ours) {
		t.Errorf("read back as %+v, want %+v", u.Instances[1], ours)
	}
	found, err := manager.List(t.Context())
	if err != nil || found["web/rack/2"].Addr != "10.0.0.2:80" {
		t.Errorf("etcd's package reads %+v, %v", found, err)
	}
}

// What Kratos's registry writes is found by the endpoint that is asked for, and it
// reads what ours writes.
func TestKratos(t *testing.T) {
	t.Parallel()
	_, hosts := cluster(t, 1, nil)
	admin := tool(t, hosts...)
	put(t, admin, "/microservices/web/one", `{"id":"one","name":"web","version":"v2","metadata":{"zone":"a","weight":"300"},"endpoints":["http://10.0.0.1:8000","grpc://10.0.0.1:9000?isSecure=false"]}`)
	put(t, admin, "/microservices/web/two", `{"id":"two","name":"web","version":"","metadata":null,"endpoints":["grpc://10.0.0.2:9000"]}`)
	put(t, admin, "/microservices/web-admin/one", `{"id":"one","name":"web-admin","endpoints":["grpc://10.0.0.3:9000"]}`)
	put(t, admin, "/else/web/one", `{"id":"one","name":"web","endpoints":["grpc://10.0.0.4:9000"]}`)
	s := source(t, "etcd://"+hosts[0]+"/?layout=kratos")
	tell := sourcetest.Watch(t, s, "web")
	u := list(t, tell, "10.0.0.1:9000 10.0.0.2:9000")
	if i := u.Instances[0]; i.ID != "one" || i.Zone != "a" || i.Weight != 3 || i.Meta["version"] != "v2" {
		t.Errorf("instance %+v", i)
	}
	list(t, sourcetest.Watch(t, source(t, "etcd://"+hosts[0]+"/microservices?layout=kratos-http"), "web"), "10.0.0.1:8000")
	list(t, sourcetest.Watch(t, source(t, "etcd://"+hosts[0]+"/else?layout=kratos"), "web"), "10.0.0.4:9000")
	ours := client.Instance{ID: "zzz", Service: "web", Address: "10.0.0.5:9000", Zone: "b", Weight: 2, Meta: map[string]string{"version": "v3", "team": "y"}}
	a := s.Announce(ours, 10*time.Second, func(error) {})
	defer a.Withdraw(t.Context(), 0)
	u = list(t, tell, "10.0.0.1:9000 10.0.0.2:9000 10.0.0.5:9000")
	if i := u.Instances[2]; i.Zone != "b" || i.Weight != 2 || i.Meta["version"] != "v3" || i.Meta["team"] != "y" {
		t.Errorf("read back as %+v", i)
	}
	answer, err := admin.Get(t.Context(), "/microservices/web/zzz")
	if err != nil || len(answer.Kvs) != 1 {
		t.Fatalf("%v, %v", answer, err)
	}
	var written struct {
		ID, Name, Version string
		Metadata          map[string]string
		Endpoints         []string
	}
	if err := json.Unmarshal(answer.Kvs[0].Value, &written); err != nil || written.ID != "zzz" || written.Name != "web" || written.Version != "v3" ||
		written.Endpoints[0] != "grpc://10.0.0.5:9000" || written.Metadata["weight"] != "200" {
		t.Errorf("written %s, %v", answer.Kvs[0].Value, err)
	}
}

func TestUserAndTLS(t *testing.T) {
	t.Parallel()
	members, hosts := cluster(t, 1, func(conf *embed.Config) {
		conf.ClientAutoTLS, conf.BcryptCost = true, 4 // the least: passwords are not what is tested
		conf.ListenClientUrls[0].Scheme, conf.AdvertiseClientUrls[0].Scheme = "https", "https"
	})
	at := func(user string) string {
		return "etcd://" + user + hosts[0] + "/?ca=" + members[0].conf.Dir + "/fixtures/client/cert.pem"
	}
	plain := source(t, at(""))
	plain.acquire()
	defer plain.release()
	admin, err := plain.connection()
	if err != nil {
		t.Fatal(err)
	}
	put(t, admin, "web/1", "10.0.0.1:80")
	_, err1 := admin.UserAdd(t.Context(), "root", "pa/ss")
	_, err2 := admin.UserGrantRole(t.Context(), "root", "root")
	_, err3 := admin.AuthEnable(t.Context())
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	list(t, sourcetest.Watch(t, source(t, at("root:pa%2Fss@")), "web"), "10.0.0.1:80")
	RegisterTLS("of-the-test", plain.cfg.TLS)
	list(t, sourcetest.Watch(t, source(t, "etcd://root:pa%2Fss@"+hosts[0]+"/?tls=of-the-test"), "web"), "10.0.0.1:80")
	for user, want := range map[string]string{"": "user name is empty", "root:wrong@": "invalid user ID or password"} {
		u := <-sourcetest.Watch(t, source(t, at(user)), "web")
		if u.Err == nil || !strings.Contains(u.Err.Error(), want) {
			t.Errorf("as %q: %v, want %s", user, u.Err, want)
		}
	}
}

// A cluster that is not there delays no start, and is found when it comes.
func TestStartsBeforeEtcd(t *testing.T) {
	t.Parallel()
	host := ports(t, 1)[0]
	for _, user := range []string{"", "root:pw@"} {
		began := time.Now()
		c, err := client.Open("etcd://"+user+host, client.WithCacheDir(""))
		if err != nil || time.Since(began) > time.Second {
			t.Errorf("open: %v after %v", err, time.Since(began))
		}
		c.Close()
		tell := sourcetest.Watch(t, source(t, "etcd://"+user+host), "web")
		if u := until(t, tell, "the error", func(u sourcetest.Told) bool { return true }); u.Err == nil || !strings.Contains(u.Err.Error(), "connection refused") {
			t.Errorf("told %+v, %v of a cluster that is not there", u.Update, u.Err)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("it takes %v to say that nobody is there", took)
		}
	}
}

func TestParameters(t *testing.T) {
	notPEM := t.TempDir() + "/ca"
	if err := os.WriteFile(notPEM, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]string{
		"?nonsense=1":            `unknown parameter "nonsense"`,
		"?layout=x":              "want gozero, endpoints, kratos",
		"?tls=x":                 "want true or false",
		"?ca=/nowhere":           "ca:",
		"?ca=" + notPEM:          "holds no certificate",
		"?cert=a":                "belong together",
		"?cert=/none&key=/none":  "cert:",
		"?layout=endpoints":      "",
		"?skip-verify=true":      "",
		"path/?layout=gozero":    "",
		"?tls=false&layout=none": "want gozero, endpoints, kratos",
	} {
		_, err := client.OpenSource("etcd://h1,h2:1,[::1]/" + query)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", query, err, want)
		}
	}
	if got := strings.Join(source(t, "etcd://h1,h2:1,[::1]/").cfg.Endpoints, " "); got != "h1:2379 h2:1 [::1]:2379" {
		t.Errorf("hosts %s", got)
	}
}

// FuzzLayouts: whatever a key holds is an instance with an address, or none.
func FuzzLayouts(f *testing.F) {
	f.Add("1", []byte("10.0.0.1:80"))
	f.Add("%zz", []byte(`{"Op":0,"Addr":"10.0.0.1:80","Metadata":{"zone":"a","weight":1e99,"tags":[1,null],"started":"x","a":null}}`))
	f.Fuzz(func(t *testing.T, id string, value []byte) {
		for name, l := range layouts {
			i, ok, err := l.instance(id, value)
			if _, _, split := net.SplitHostPort(i.Address); ok && err == nil && (i.ID == "" || split != nil) {
				t.Errorf("%s: %+v from %q %q", name, i, id, value)
			}
		}
	})
}
