package client_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerryhq/skerry/client"
	"github.com/skerryhq/skerry/client/clienttest"
	"github.com/skerryhq/skerry/client/sourcetest"
)

var errDown = errors.New("connection refused")

// watch returns the snapshots of a service as they come.
func watch(t *testing.T, c *client.Client, service string) <-chan client.Snapshot {
	t.Helper()
	out := make(chan client.Snapshot, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for s := range c.Watch(ctx, service) {
			out <- s
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return out
}

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &clienttest.Manual{}
		c := client.New(m, client.WithCacheDir(""))
		defer c.Close()
		one, two := watch(t, c, "web"), watch(t, c, "web")
		synctest.Wait()
		if len(one) > 0 || m.Watched("web") != 1 {
			t.Fatalf("%d snapshots before anything is known, %d watches of the source", len(one), m.Watched("web"))
		}
		m.Set("web", "a:1", "b:1", "c:1")
		for _, w := range []<-chan client.Snapshot{one, two} {
			if s := <-w; sourcetest.Addresses(s.Instances) != "a:1 b:1 c:1" || s.Freshness != client.Live || s.Err != nil {
				t.Errorf("at first: %+v", s)
			}
		}
		m.Set("web", "a:1", "b:1", "c:1")
		synctest.Wait()
		if len(one) > 0 {
			t.Errorf("told of a change that is none: %+v", <-one)
		}
		m.Fail("web", errDown)
		if s := <-one; sourcetest.Addresses(s.Instances) != "a:1 b:1 c:1" || s.Freshness != client.Frozen || !errors.Is(s.Err, errDown) {
			t.Errorf("while the source is down: %+v", s)
		}
		m.Set("web")
		if s := <-one; sourcetest.Addresses(s.Instances) != "a:1 b:1 c:1" || s.Freshness != client.Live || s.Held != 3 {
			t.Errorf("empty without proof: %+v", s)
		}
		began := time.Now()
		if s := <-one; sourcetest.Addresses(s.Instances) != "" || time.Since(began) != 30*time.Second {
			t.Errorf("after %v: %+v", time.Since(began), s)
		}
	})
}

func TestFollowingEndsWhenNobodyWatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &clienttest.Manual{}
		c := client.New(m, client.WithCacheDir(""))
		defer c.Close()
		m.Set("web", "a:1")
		for s := range c.Watch(t.Context(), "web") {
			if _, ok := c.Snapshot("web"); !ok || sourcetest.Addresses(s.Instances) != "a:1" {
				t.Error("nothing is known")
			}
			break
		}
		time.Sleep(59 * time.Second)
		synctest.Wait()
		if m.Watched("web") != 1 {
			t.Error("who comes back soon finds it followed")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if m.Watched("web") != 0 {
			t.Error("it is followed for ever")
		}
	})
}

// A client that starts while the registry is dead starts from the disk.
func TestColdStart(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		m := &clienttest.Manual{}
		c := client.New(m, client.WithCacheDir(dir))
		w := watch(t, c, "a/b")
		m.Set("a/b", "a:1", "b:1")
		<-w
		time.Sleep(2 * time.Second)
		c.Close()

		down := &clienttest.Manual{}
		down.Fail("a/b", errDown)
		c = client.New(down, client.WithCacheDir(dir))
		defer c.Close()
		w = watch(t, c, "a/b")
		if s := <-w; sourcetest.Addresses(s.Instances) != "a:1 b:1" || s.Freshness != client.Cold {
			t.Errorf("from the disk: %+v", s)
		}
		if s := <-w; s.Freshness != client.Cold || !errors.Is(s.Err, errDown) {
			t.Errorf("when the source is seen to be down: %+v", s)
		}
		down.Set("a/b", "a:1", "c:1")
		if s := <-w; sourcetest.Addresses(s.Instances) != "a:1 c:1" && sourcetest.Addresses(s.Instances) != "a:1 b:1 c:1" || s.Freshness != client.Live {
			t.Errorf("when it is back: %+v", s)
		}
	})
	// A damaged file is as good as none.
	files, _ := filepath.Glob(filepath.Join(dir, "*.json"))
	if len(files) != 1 {
		t.Fatalf("files %v", files)
	}
	data, _ := os.ReadFile(files[0])
	data[len(data)/2] ^= 1
	if err := os.WriteFile(files[0], data, 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		m := &clienttest.Manual{}
		c := client.New(m, client.WithCacheDir(dir))
		defer c.Close()
		w := watch(t, c, "a/b")
		synctest.Wait()
		if len(w) != 0 {
			t.Errorf("from a damaged file: %+v", <-w)
		}
	})
}

func TestRegister(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &clienttest.Manual{}
		c := client.New(m, client.WithCacheDir(""))
		defer c.Close()
		var listens atomic.Bool
		m.FailAnnouncements(errDown)
		r, err := c.Register(client.Instance{Service: "web", Address: "10.0.0.1:80"}, client.WithReady(func(context.Context) error {
			if !listens.Load() {
				return errDown
			}
			return nil
		}))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if err := r.Err(); err == nil || !strings.Contains(err.Error(), "not ready") {
			t.Errorf("before it listens: %v", err)
		}
		listens.Store(true)
		time.Sleep(10 * time.Second)
		if err := r.Err(); !errors.Is(err, errDown) {
			t.Errorf("while the registry is down: %v", err)
		}
		m.FailAnnouncements(nil)
		<-r.Registered()
		w := watch(t, c, "web")
		if s := <-w; len(s.Instances) != 1 || s.Instances[0].ID != "web-10.0.0.1:80" || s.Instances[0].Started.IsZero() {
			t.Errorf("registered: %+v", s)
		}
		m.Set("web") // the registry loses it
		time.Sleep(2 * time.Second)
		if s, _ := c.Snapshot("web"); len(s.Instances) != 1 || s.Held != 0 {
			t.Errorf("after a loss: %+v", s)
		}
		began := time.Now()
		if err := r.Drain(t.Context()); err != nil || time.Since(began) != 0 {
			t.Errorf("an acknowledged drain took %v: %v", time.Since(began), err)
		}
		<-r.Done()
		synctest.Wait()
		if s, _ := c.Snapshot("web"); len(s.Instances) != 0 {
			t.Errorf("after the drain: %+v", s)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestRegisterRefuses(t *testing.T) {
	c := client.New(&clienttest.Manual{}, client.WithCacheDir(""))
	defer c.Close()
	for _, i := range []client.Instance{{Address: "10.0.0.1:80"}, {Service: "web"}, {Service: "web", Address: ":80"}, {Service: "web", Address: "10.0.0.1"}} {
		if _, err := c.Register(i); err == nil {
			t.Errorf("%+v was taken", i)
		}
	}
	direct := client.New(client.Direct{}, client.WithCacheDir(""))
	defer direct.Close()
	if _, err := direct.Register(client.Instance{Service: "web", Address: "10.0.0.1:80"}); !errors.Is(err, client.ErrReadOnly) {
		t.Errorf("direct: %v", err)
	}
}

func TestOpen(t *testing.T) {
	for _, tc := range []struct{ url, want, err string }{
		{"direct:///10.0.0.1:80,10.0.0.2:80", "10.0.0.1:80 10.0.0.2:80", ""},
		{"direct://10.0.0.1:80,10.0.0.2:80", "10.0.0.1:80 10.0.0.2:80", ""},
		{"direct:///", "", "names no address"},
		{"nowhere://x", "", "no source for the scheme"},
		{"10.0.0.1:80", "", "no scheme"},
		{"x://user:secret@host/%zz?token=secret", "", "cannot be read"},
	} {
		c, err := client.Open(tc.url, client.WithCacheDir(""))
		if err != nil {
			if tc.err == "" || !strings.Contains(err.Error(), tc.err) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s: %v, want %q", tc.url, err, tc.err)
			}
			continue
		}
		for s := range c.Watch(t.Context(), "web") {
			if sourcetest.Addresses(s.Instances) != tc.want || s.Instances[0].Service != "web" {
				t.Errorf("%s: %+v", tc.url, s)
			}
			break
		}
		c.Close()
	}
	l, err := client.ParseLocation("skerry://me:pw@a:1,b:2/dc1?token=T&x=1")
	if err != nil || !slices.Equal(l.Hosts, []string{"a:1", "b:2"}) || l.Path != "dc1" || l.Query.Get("token") != "T" || l.User.Username() != "me" {
		t.Errorf("%+v %v", l, err)
	}
}

// confirming yields each list three times.
type confirming struct{}

func (confirming) Watch(_ context.Context, service string) iter.Seq2[client.Update, error] {
	return func(yield func(client.Update, error) bool) {
		for n := range 3000 {
			address := fmt.Sprint("a:", n/3)
			if !yield(client.Update{Instances: []client.Instance{{ID: address, Service: service, Address: address}}, Proven: true}, nil) {
				return
			}
		}
	}
}

// A list that is confirmed while it is read stays as it is for its reader: seen by
// the race detector.
func TestConfirmedWhileRead(t *testing.T) {
	c := client.New(confirming{}, client.WithCacheDir(""))
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var since time.Time
	for s := range c.Watch(ctx, "web") {
		if s.Since.Before(since) {
			t.Errorf("confirmed at %v after %v", s.Since, since)
		}
		if since = s.Since; sourcetest.Addresses(s.Instances) == "a:999" {
			return
		}
	}
	t.Error("the last list has not come")
}
