package union_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerryhq/skerry/client"
	"github.com/skerryhq/skerry/client/clienttest"
	"github.com/skerryhq/skerry/client/sourcetest"
	"github.com/skerryhq/skerry/client/union"
)

var errDown = errors.New("connection refused")

// follow keeps a service followed, and returns its list as it is now.
func follow(t *testing.T, c *client.Client) func() client.Snapshot {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range c.Watch(ctx, "web") {
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return func() client.Snapshot {
		synctest.Wait()
		s, _ := c.Snapshot("web")
		return s
	}
}

func TestMigration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, new := &clienttest.Manual{}, &clienttest.Manual{}
		c := client.New(union.Of(old, new), client.WithCacheDir(""))
		defer c.Close()
		list := follow(t, c)
		expect := func(when, want string, freshness client.Freshness) {
			t.Helper()
			if s := list(); sourcetest.Addresses(s.Instances) != want || s.Freshness != freshness || (s.Err == nil) != (freshness == client.Live) {
				t.Errorf("%s: %s %v, %v; want %s", when, sourcetest.Addresses(s.Instances), s.Freshness, s.Err, want)
			}
		}
		old.Set("web", "a:1", "b:1")
		if s := list(); len(s.Instances) > 0 {
			t.Errorf("half a list at the start: %+v", s)
		}
		new.Set("web", "b:1", "c:1")
		expect("both", "a:1 b:1 c:1", client.Live)

		// One fails: its list stays, the other one's changes count.
		old.Fail("web", errDown)
		expect("the old one is down", "a:1 b:1 c:1", client.Live)
		new.Update("web", client.Update{Revision: 5, Left: []string{"c:1"}, Instances: []client.Instance{{ID: "d:1", Address: "d:1"}}})
		expect("a withdrawal in the new one", "a:1 b:1 d:1", client.Live)
		new.Fail("web", errDown)
		expect("both are down", "a:1 b:1 d:1", client.Frozen)
		new.Set("web", "d:1", "e:1")
		expect("one is back", "a:1 b:1 d:1 e:1", client.Live)

		// The old one comes back empty: it is not believed at once, though the new one is live.
		old.Set("web")
		time.Sleep(29 * time.Second)
		expect("the old one is empty", "a:1 b:1 d:1 e:1", client.Live)
		time.Sleep(2 * time.Second)
		expect("and stays so", "d:1 e:1", client.Live)
	})
}

// The sources' lists are kept by the rules of the union's client.
func TestRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &clienttest.Manual{}
		c := client.New(union.Of(m), client.WithCacheDir(""), client.WithHold(5*time.Second))
		defer c.Close()
		list := follow(t, c)
		m.Set("web", "a:1", "b:1", "c:1")
		list()
		m.Set("web", "c:1")
		time.Sleep(4 * time.Second)
		if s := list(); len(s.Instances) != 3 {
			t.Errorf("within the hold: %v", s.Instances)
		}
		time.Sleep(2 * time.Second)
		if s := list(); sourcetest.Addresses(s.Instances) != "c:1" {
			t.Errorf("after the hold: %v", s.Instances)
		}
	})
}

// A source that has never answered takes nothing from what is on disk, and does not
// keep the other one's list back for long.
func TestStartWithOneDead(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		old, new := &clienttest.Manual{}, &clienttest.Manual{}
		old.Set("web", "a:1", "b:1", "c:1")
		new.Set("web", "z:1")
		c := client.New(union.Of(old, new), client.WithCacheDir(dir))
		if s := follow(t, c)(); sourcetest.Addresses(s.Instances) != "a:1 b:1 c:1 z:1" {
			t.Fatalf("at first %+v", s)
		}
		time.Sleep(2 * time.Second)
		c.Close()

		silent := &clienttest.Manual{}
		c = client.New(union.Of(silent, new), client.WithCacheDir(dir))
		defer c.Close()
		list := follow(t, c)
		if s := list(); s.Freshness != client.Cold {
			t.Errorf("before the sources answer: %+v", s)
		}
		time.Sleep(4 * time.Second)
		if s := list(); s.Freshness != client.Live || sourcetest.Addresses(s.Instances) != "a:1 b:1 c:1 z:1" || s.Held != 3 {
			t.Errorf("with one silent source: %+v", s)
		}
		silent.Fail("web", errDown)
		time.Sleep(time.Hour)
		if s := list(); s.Freshness != client.Live || sourcetest.Addresses(s.Instances) != "a:1 b:1 c:1 z:1" {
			t.Errorf("with one dead source: %+v", s)
		}
		new.Fail("web", errDown)
		if s := list(); s.Freshness != client.Frozen || !errors.Is(s.Err, errDown) {
			t.Errorf("with both dead: %+v", s)
		}
	})
}

func TestSameIDSameAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := &clienttest.Manual{}, &clienttest.Manual{}
		c := client.New(union.Of(one, two), client.WithCacheDir(""))
		defer c.Close()
		one.Update("web", client.Update{Instances: []client.Instance{{ID: "1", Address: "a:1", Zone: "x"}, {ID: "2", Address: "b:1"}}})
		two.Update("web", client.Update{Instances: []client.Instance{{ID: "9", Address: "a:1", Draining: true}, {ID: "2", Address: "c:1"}}})
		s := follow(t, c)()
		if sourcetest.Addresses(s.Instances) != "a:1 b:1 c:1" || s.Instances[0].ID != "1" || s.Instances[0].Zone != "x" || !s.Instances[0].Draining || s.Instances[2].ID != "2~2" {
			t.Errorf("%+v", s.Instances)
		}
	})
}

// onlyReads is a source that takes no registrations.
type onlyReads struct{ client.Source }

func TestRegister(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if _, ok := union.Of(onlyReads{&clienttest.Manual{}}).(client.Registry); ok {
			t.Error("sources that take no registrations make a registry")
		}
		old, new := &clienttest.Manual{}, &clienttest.Manual{}
		old.FailAnnouncements(errDown)
		c := client.New(union.Of(old, onlyReads{&clienttest.Manual{}}, new), client.WithCacheDir(""))
		defer c.Close()
		at := func(m *clienttest.Manual) string {
			c := client.New(m, client.WithCacheDir(""))
			defer c.Close()
			return sourcetest.Addresses(follow(t, c)().Instances)
		}
		r, err := c.Register(client.Instance{Service: "web", Address: "a:1"}, client.WithReady(func(context.Context) error { return nil }))
		if err != nil {
			t.Fatal(err)
		}
		<-r.Registered()
		synctest.Wait()
		if !errors.Is(r.Err(), errDown) || at(new) != "a:1" || at(old) != "" {
			t.Errorf("with one registry down: %v, in the new one %q, in the old one %q", r.Err(), at(new), at(old))
		}
		old.FailAnnouncements(nil)
		time.Sleep(2 * time.Second)
		if r.Err() != nil || at(old) != "a:1" {
			t.Errorf("when it is back: %v, %q", r.Err(), at(old))
		}
		old.FailAnnouncements(errDown)
		began := time.Now()
		if err := r.Drain(t.Context()); !errors.Is(err, errDown) || at(new) != "" || time.Since(began) < 2*time.Second {
			t.Errorf("drained: %v after %v, in the new one %q", err, time.Since(began), at(new))
		}
	})
}

func TestOpen(t *testing.T) {
	for rawURL, want := range map[string]string{
		"union:///?of=direct:///a:1&of=direct:///b:1": "",
		"union:///":               "want union:///?of=URL",
		"union://host/?of=x":      "",
		"union:///?of=nope://":    "nope",
		"union:///?from=direct:x": `unknown parameter "from"`,
	} {
		_, err := client.OpenSource(rawURL)
		ok := rawURL == "union:///?of=direct:///a:1&of=direct:///b:1"
		if (err == nil) != ok || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", rawURL, err, want)
		}
	}
}
