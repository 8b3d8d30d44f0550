package zookeeper

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/skerryhq/skerry/client"
	"github.com/skerryhq/skerry/client/sourcetest"
)

func curators(host string) []byte {
	return fmt.Appendf(nil, `{"name":"orders","id":"x","address":"%s","port":8080,"sslPort":null,
		"payload":{"@class":"org.springframework.cloud.zookeeper.discovery.ZookeeperInstance","id":"a","metadata":{"zone":"z1","team":"x"}},
		"registrationTimeUTC":1500000000000,"serviceType":"DYNAMIC","uriSpec":{"parts":[]}}`, host)
}

func TestCurator(t *testing.T) {
	t.Parallel()
	z := start(t)
	admin := z.tool()
	tell := sourcetest.Watch(t, source(t, "zookeeper://127.0.0.1:1,"+z.host+"/services"), "orders")
	first := list(t, tell, "") // the folder is not there yet
	write(t, admin, "/services/orders/a", curators("10.0.0.1"))
	u := list(t, tell, "10.0.0.1:8080")
	if i := u.Instances[0]; i.ID != "a" || i.Service != "orders" || i.Zone != "z1" || i.Meta["team"] != "x" || i.Started.UnixMilli() != 1500000000000 || i.Draining {
		t.Errorf("instance %+v", i)
	}
	if u.Revision <= first.Revision || u.Proven || u.Unsettled {
		t.Errorf("update %+v", u.Update)
	}
	write(t, admin, "/services/orders/b", curators("10.0.0.2"))
	list(t, tell, "10.0.0.1:8080 10.0.0.2:8080")
	write(t, admin, "/services/orders/a", []byte(strings.Replace(string(curators("10.0.0.3")), "{", `{"enabled":false,`, 1)))
	if u := list(t, tell, "10.0.0.3:8080 10.0.0.2:8080"); !u.Instances[0].Draining {
		t.Errorf("a disabled instance: %+v", u.Instances[0])
	}
	write(t, admin, "/services/orders/a", []byte("nonsense"))
	write(t, admin, "/services/orders/c", []byte("nonsense"))
	write(t, admin, "/services/orders/d", curators("10.0.0.4"))
	list(t, tell, "10.0.0.3:8080 10.0.0.2:8080 10.0.0.4:8080")
	// By the same name, at once: another.
	write(t, admin, "/services/orders/b", nil)
	write(t, admin, "/services/orders/b", curators("10.0.0.5"))
	before := list(t, tell, "10.0.0.3:8080 10.0.0.5:8080 10.0.0.4:8080")
	for _, child := range []string{"a", "b", "c", "d", ""} {
		write(t, admin, strings.TrimSuffix("/services/orders/"+child, "/"), nil)
	}
	if u := list(t, tell, ""); u.Revision < before.Revision {
		t.Errorf("an empty folder's end makes revision %d of %d", u.Revision, before.Revision)
	}
	write(t, admin, "/services/orders/a", curators("10.0.0.1"))
	list(t, tell, "10.0.0.1:8080")
}

func TestDubbo(t *testing.T) {
	t.Parallel()
	z := start(t)
	admin := z.tool()
	provider := "dubbo://10.0.0.1:20880/com.acme.Orders?weight=200&timestamp=1500000000000&version=1.0.0&application=shop"
	write(t, admin, "/dubbo/com.acme.Orders/providers/"+url.QueryEscape(provider), []byte("10.0.0.1"))
	s := source(t, "zk://"+z.host+"/?layout=dubbo")
	tell := sourcetest.Watch(t, s, "com.acme.Orders")
	u := list(t, tell, "10.0.0.1:20880")
	if i := u.Instances[0]; i.Weight != 200 || i.Started.UnixMilli() != 1500000000000 || i.Meta["version"] != "1.0.0" || i.Meta[metaProtocol] != "dubbo" {
		t.Errorf("instance %+v", i)
	}
	a := s.Announce(client.Instance{ID: "x", Service: "com.acme.Orders", Address: "10.0.0.2:50051", Weight: 7, Zone: "z", Meta: map[string]string{metaProtocol: "tri"}}, 4*time.Second, func(error) {})
	u = list(t, tell, "10.0.0.1:20880 10.0.0.2:50051")
	if i := u.Instances[1]; i.Weight != 7 || i.Zone != "z" || i.Meta[metaProtocol] != "tri" {
		t.Errorf("read back as %+v", i)
	}
	if _, err := a.Withdraw(t.Context(), 0); err != nil {
		t.Error(err)
	}
	list(t, tell, "10.0.0.1:20880")
}

// Registered, killed, back, and back without its data.
func TestRegister(t *testing.T) {
	t.Parallel()
	z := start(t)
	s := source(t, "zk://user:pw@"+z.host)
	// The provider's session is opened anew within the hold. After two kills that took over 2 s on a busy machine.
	const hold = 5 * time.Second
	c := client.New(s, client.WithCacheDir(""), client.WithHold(hold))
	defer c.Close()
	go func() {
		most := 0
		for s := range c.Watch(t.Context(), "orders") {
			if most = max(most, len(s.Instances)); most == 2 && len(s.Instances) == 0 {
				t.Errorf("an empty moment: %+v", s)
			}
		}
	}()
	tell := sourcetest.Watch(t, s, "orders")
	reports := make(chan error, 1000)
	i := client.Instance{ID: "o/1", Service: "orders", Address: "10.0.0.1:80", Zone: "z1", Started: time.UnixMilli(1500000000000).UTC(), Meta: map[string]string{"zone": "z1"}}
	a := s.Announce(i, 4*time.Second, func(err error) { reports <- err })
	write(t, z.tool(), "/services/orders/fixed", curators("10.0.0.9"))
	u := list(t, tell, "10.0.0.9:8080 10.0.0.1:80")
	if got := u.Instances[1]; got.ID != "o%2F1" || got.Zone != "z1" || !got.Started.Equal(i.Started) {
		t.Errorf("read back as %+v", got)
	}
	for err := range reports {
		if err == nil {
			break
		}
		t.Logf("at first: %v", err) // it may not take sessions yet
	}
	z.kill()
	until(t, tell, "the kill", func(u sourcetest.Told) bool { return u.Err != nil })
	z.run()
	list(t, tell, "10.0.0.9:8080 10.0.0.1:80")

	z.kill()
	z.dir = t.TempDir()
	z.run()
	if again := list(t, tell, "10.0.0.1:80"); again.Revision >= u.Revision {
		t.Errorf("without its data it is at revision %d, before at %d", again.Revision, u.Revision)
	}
	// Its own watch may come later than the test's, with the session that has expired between
	// the two kills.
	listed := func() bool {
		s, _ := c.Snapshot("orders")
		return strings.Contains(sourcetest.Addresses(s.Instances), "10.0.0.1:80")
	}
	waiting, stop := context.WithTimeout(t.Context(), within)
	defer stop()
	for range c.Watch(waiting, "orders") {
		if listed() {
			break
		}
	}
	time.Sleep(hold + time.Second)
	if !listed() {
		s, _ := c.Snapshot("orders")
		t.Errorf("ZooKeeper has lost its data, and the list is %+v", s)
	}
	c.Close() // the rest is on purpose
	if _, err := a.Withdraw(t.Context(), 0); err != nil {
		t.Error(err)
	}
	list(t, tell, "")
}

func TestNobodyThere(t *testing.T) {
	for _, user := range []string{"", "user:pw@"} {
		tell := sourcetest.Watch(t, source(t, "zk://"+user+"127.0.0.1:1,no-such-host.invalid:2181"), "orders")
		if u := until(t, tell, "the error", func(sourcetest.Told) bool { return true }); u.Err == nil || !strings.Contains(u.Err.Error(), "could not connect") {
			t.Errorf("told %+v, %v", u.Update, u.Err)
		}
	}
}

func TestOpen(t *testing.T) {
	for rawURL, want := range map[string]string{"zk:///?x=1": "unknown parameter", "zookeeper:///?layout=x": "want curator or dubbo"} {
		if _, err := client.OpenSource(rawURL); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", rawURL, err, want)
		}
	}
	s := source(t, "zk://h1,[::1],h2:1/a/b?layout=dubbo")
	if got := strings.Join(s.hosts, " "); got != "h1:2181 [::1]:2181 h2:1" || s.root != "/a/b" {
		t.Errorf("hosts %s, root %s", got, s.root)
	}
}

// FuzzLayouts: whatever a node is, it is an instance with an address, or an error.
func FuzzLayouts(f *testing.F) {
	f.Add("a", curators("10.0.0.1"))
	f.Add(url.QueryEscape("dubbo://10.0.0.1:20880/com.acme.Orders?weight=x"), []byte("null"))
	f.Fuzz(func(t *testing.T, child string, data []byte) {
		for name, l := range layouts {
			i, err := l.instance(child, data)
			if _, _, split := net.SplitHostPort(i.Address); err == nil && split != nil {
				t.Errorf("%s: %+v of %q %q", name, i, child, data)
			}
		}
	})
}
