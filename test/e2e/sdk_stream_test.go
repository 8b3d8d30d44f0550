package e2e

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/skerryhq/skerry/client"
	"github.com/skerryhq/skerry/client/sourcetest"
)

// seenWithin is how soon a change is seen while the server that the SDK follows at is dead or hangs.
const seenWithin = 3 * time.Second

// streamed is a caller's view of a service that the SDK follows at several servers.
type streamed struct {
	t      *testing.T
	tell   <-chan sourcetest.Told
	client *client.Client

	mu     sync.Mutex
	all    []string // the IDs that must be in each list
	frozen bool     // the list was not live for a moment
	last   []string
	news   chan struct{}
}

// stream follows batch at these servers, and checks that no list lacks an instance that all before it had.
func stream(t *testing.T, servers []*agent) *streamed {
	t.Helper()
	var hosts []string
	for _, a := range servers {
		hosts = append(hosts, a.http)
	}
	url := "skerry://" + strings.Join(hosts, ",")
	source, err := client.OpenSource(url)
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.Open(url, client.WithCacheDir(""))
	if err != nil {
		t.Fatal(err)
	}
	s := &streamed{t: t, tell: sourcetest.Watch(t, source, "batch"), client: c, news: make(chan struct{}, 1)}
	var done sync.WaitGroup
	done.Go(func() {
		for snapshot := range c.Watch(t.Context(), "batch") {
			s.mu.Lock()
			s.frozen = s.frozen || snapshot.Freshness != client.Live
			s.mu.Unlock()
		}
	})
	done.Go(s.run)
	t.Cleanup(func() { c.Close(); done.Wait() })
	return s
}

func (s *streamed) run() {
	for {
		select {
		case told := <-s.tell:
			s.take(told)
		case <-s.t.Context().Done():
			return
		}
	}
}

// take checks one answer of the source itself: the client would hold instances that it lacks.
func (s *streamed) take(told sourcetest.Told) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if told.Err != nil {
		return
	}
	s.last = nil
	for _, i := range told.Instances {
		s.last = append(s.last, i.ID)
	}
	for _, id := range s.all {
		if !slices.Contains(s.last, id) {
			s.t.Errorf("a list lacks %s: %v", id, s.last)
		}
	}
	select {
	case s.news <- struct{}{}:
	default:
	}
}

// sees waits until an instance is in the list, and returns how long that took.
func (s *streamed) sees(id string, within time.Duration) time.Duration {
	s.t.Helper()
	began := time.Now()
	late := time.After(within)
	for {
		s.mu.Lock()
		there := slices.Contains(s.last, id)
		if there {
			s.all = append(s.all, id)
		}
		s.mu.Unlock()
		if there {
			return time.Since(began)
		}
		select {
		case <-s.news:
		case <-late:
			s.t.Fatalf("%s is not in the list after %v: %v", id, within, s.last)
		}
	}
}

// put registers an instance by a lease at a server.
func (s *streamed) put(at *agent, id string) string {
	s.t.Helper()
	at.ok("PUT", "/v1/skerry/owner/"+id, fmt.Sprintf(`{"Address": "10.0.0.7", "TTL": "1h", "Services": [{"ID": %q, "Name": "batch", "Port": 9000}]}`, id))
	return id + "/" + id
}

// The SDK follows a service at one of three servers. When that one is killed or hangs, the list stays as it is, stays
// live, and changes go on to be seen within 3 s; also when all servers were killed and are back.
func TestSDKFollowsAtAnyServer(t *testing.T) {
	t.Parallel()
	all, _ := servers(t, 3)
	s := stream(t, all)
	s.sees(s.put(all[0], "first"), patience)
	for n, a := range all {
		a.kill()
		took := s.sees(s.put(all[(n+1)%3], fmt.Sprint("killed-", n)), seenWithin)
		t.Logf("s%d is killed: a change is seen after %v", n+1, took.Round(time.Millisecond))
		a.run()
		a.ready(200, "true")
	}
	for n, a := range all {
		began := time.Now()
		a.signal(syscall.SIGSTOP)
		took := s.sees(s.put(all[(n+1)%3], fmt.Sprint("stopped-", n)), seenWithin)
		t.Logf("s%d stands still: a change is seen %v after it was made, and %v after the stop", n+1, took.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
		a.signal(syscall.SIGCONT)
		a.ready(200, "true")
	}
	awaitList(t, s.client, "batch", "the client has all changes", lives(7))
	s.mu.Lock()
	if s.frozen {
		t.Error("the list was not live while two servers were well")
	}
	s.mu.Unlock()
	for _, a := range all {
		a.kill()
	}
	awaitList(t, s.client, "batch", "all are dead", func(now client.Snapshot) bool { return now.Freshness == client.Frozen && len(now.Instances) == 7 })
	for _, a := range all {
		a.run()
	}
	for _, a := range all {
		a.ready(200, "true")
	}
	s.sees(s.put(all[2], "last"), patience)
	awaitList(t, s.client, "batch", "all are back", lives(8))
}
