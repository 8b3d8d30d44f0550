package consul_test

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/catalog"
	"github.com/skerryhq/skerry/follow/hub"
	"github.com/skerryhq/skerry/readers"
	"github.com/skerryhq/skerry/test/program"
	"github.com/skerryhq/skerry/tongue/consul"
)

// following is a server, and the client of one stream.
type following struct {
	t       *testing.T
	table   *catalog.Table
	server  *httptest.Server
	readers *readers.Readers
	seq     uint64
	lines   *bufio.Scanner
	body    func() error

	position float64 // in the last event
}

func newFollowing(t *testing.T) *following {
	noted := readers.New(time.Now)
	table := catalog.New(catalog.Config{})
	d := skerry.Discover(table)
	front, err := consul.New(consul.Config{}, consul.Backend{
		Self: skerry.Self{Name: "n1", Datacenter: "dc1"}, Catalog: table, Discovery: d, Subscriber: hub.New(d, begins), Readers: noted,
	}, consul.NewMetrics(prometheus.NewRegistry()))
	if err != nil {
		t.Fatal(err)
	}
	f := &following{t: t, table: table, readers: noted, server: httptest.NewServer(front)}
	t.Cleanup(f.server.Close)
	return f
}

// put makes the set of the owner these instances of web, "-" before one that drains.
func (f *following) put(ids ...string) {
	f.t.Helper()
	set := &skerry.Set{Node: &skerry.Node{Name: "n1", Address: "10.0.0.1"}}
	for _, id := range ids {
		id, draining := strings.CutPrefix(id, "-")
		set.Instances = append(set.Instances, &skerry.Instance{ID: id, Service: "web", Draining: draining})
	}
	f.seq++
	if _, err := f.table.Announce(skerry.Announcement{Owner: "a", Kind: skerry.AgentOwner, Version: skerry.Version{Epoch: 1, Seq: f.seq}, Set: set, Digest: set.Digest()}); err != nil {
		f.t.Fatal(err)
	}
}

func (f *following) open(query string) {
	f.t.Helper()
	if f.body != nil {
		f.body()
	}
	resp, err := http.Get(f.server.URL + "/v1/skerry/follow?" + query)
	if err != nil {
		f.t.Fatal(err)
	}
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		f.t.Fatalf("%d %s", resp.StatusCode, resp.Header)
	}
	f.t.Cleanup(func() { resp.Body.Close() })
	f.lines, f.body = bufio.NewScanner(resp.Body), resp.Body.Close
}

// next returns the next event as "kind service: +new -removed ~draining", and its id.
func (f *following) next() (text, id string) {
	f.t.Helper()
	kind := ""
	for f.lines.Scan() {
		field, value, _ := strings.Cut(f.lines.Text(), ": ")
		switch field {
		case "event":
			kind = value
		case "id":
			id = value
		case "data":
			var e struct {
				Service           string
				Whole             bool
				Entries, Draining []struct{ Service struct{ ID string } }
				Removed           []struct{ Node, ID string }
				Cause             string
				Position          float64
			}
			if err := json.Unmarshal([]byte(value), &e); err != nil {
				f.t.Fatal(err)
			}
			f.position = e.Position
			text = kind + " " + e.Service + ":"
			if e.Whole {
				text += " whole"
			}
			for _, x := range e.Entries {
				text += " +" + x.Service.ID
			}
			for _, x := range e.Draining {
				text += " ~" + x.Service.ID
			}
			for _, x := range e.Removed {
				text += " -" + x.Node + "/" + x.ID
			}
			return strings.TrimSpace(text + " " + e.Cause), id
		}
	}
	f.t.Fatal("the stream ended")
	return "", ""
}

func (f *following) expect(want string) (id string) {
	f.t.Helper()
	got, id := f.next()
	if got != want {
		f.t.Fatalf("event %q, want %q", got, want)
	}
	return id
}

// A program gets the view of a service whole, then its changes, and resumes where it was.
func TestProgramsFollowServices(t *testing.T) {
	f := newFollowing(t)
	f.put("a", "b")
	f.open("service=Web&service=db")
	f.expect("view web: whole +a +b")
	f.expect("view db: whole unknown")
	f.put("a", "b", "c")
	f.expect("view web: +c")
	f.put("-a", "b", "c")
	f.expect("view web: ~a")
	f.put("b", "c")
	token := f.expect("view web: -n1/a")
	f.open("service=web&service=db&resume=" + token)
	f.expect("same web:")
	f.expect("same db: unknown")
	f.put("b")
	f.expect("view web: -n1/c")
	f.open("service=web&service=db&resume=" + token)
	f.expect("view web: whole +b")
	f.expect("same db: unknown")
	f.put("-b")
	f.expect("view web: ~b draining")
	f.put()
	f.expect("view web: -n1/b deregistered")
	f.open("service=web&resume=" + token) // of another list of services
	f.expect("view web: whole deregistered")
}

// Each caller gets a position of its own, and keeps it where it resumes.
func TestFollowersGetPositions(t *testing.T) {
	f := newFollowing(t)
	f.put("a")
	f.open("service=web&service=db")
	token := f.expect("view web: whole +a")
	token = cmp.Or(f.expect("view db: whole unknown"), token)
	first := f.position
	other := &following{t: t, table: f.table, readers: f.readers, server: f.server}
	other.open("service=web")
	other.expect("view web: whole +a")
	if first != .25 || other.position == 0 || other.position == first {
		t.Errorf("two callers stand at %v and %v, want .25 and another", first, other.position)
	}
	other.open("service=web&service=db&resume=" + token) // where the first one stands still
	other.expect("same web:")
	if other.position != first {
		t.Errorf("a caller that resumes stands at %v, not at %v", other.position, first)
	}
	f.put("a", "b")
	other.expect("same db: unknown")
	other.position = 0
	other.expect("view web: +b")
	if other.position != 0 {
		t.Errorf("a change has the position %v again", other.position)
	}
}

// What cannot be followed is refused with the field and the fix.
func TestStreamsAreBounded(t *testing.T) {
	f := newFollowing(t)
	many := ""
	for n := range 101 {
		many += fmt.Sprintf("&service=s%d", n)
	}
	for query, want := range map[string]string{
		"": "Missing service", "service=": "Invalid service", "service=web&ping=0.5s": `Invalid ping "0.5s": want`, "service=web&ping=61s": "Invalid ping", "service=web&ping=2": "Invalid ping", "service=" + strings.Repeat("a", 513): "Invalid service", many[1:]: "Too many services",
	} {
		resp, err := http.Get(f.server.URL + "/v1/skerry/follow?" + query)
		if err != nil {
			t.Fatal(err)
		}
		var body [200]byte
		n, _ := resp.Body.Read(body[:])
		resp.Body.Close()
		if resp.StatusCode != 400 || !strings.Contains(string(body[:n]), want) {
			t.Errorf("%.40s: %d %s", query, resp.StatusCode, body[:n])
		}
	}
}

// A caller follows the instances that it may see. A token that is unknown opens no stream.
func TestAStreamHasWhatItsTokenMaySee(t *testing.T) {
	server := httptest.NewServer(crowd(t, true))
	defer server.Close()
	events := func(token string) int {
		req, _ := http.NewRequestWithContext(t.Context(), "GET", server.URL+"/v1/skerry/follow?service=web", nil)
		req.Header.Set("X-Consul-Token", token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != 200 {
			return -resp.StatusCode
		}
		lines := bufio.NewScanner(resp.Body)
		for lines.Buffer(nil, 16<<20); lines.Scan(); {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				return strings.Count(data, `"ID":"web"`)
			}
		}
		t.Fatal(lines.Err())
		return 0
	}
	whole, half := events(managementSecret), events(halfSecret)
	if half == 0 || half >= whole || events("cccccccc-0000-4000-8000-00000000000c") != -403 || events("") != 0 {
		t.Errorf("%d and %d instances; an unknown token: %d; none: %d", whole, half, events("cccccccc-0000-4000-8000-00000000000c"), events(""))
	}
}

// A stream is a reader that has a view once it was written, or once its client acknowledged it.
func TestStreamsAreCountedByDrains(t *testing.T) {
	const name = "0123456789abcdef"
	f := newFollowing(t)
	counts := func(acked, pending, gone int) error {
		c := f.readers.Begin("web", f.table.Service("web").Index)
		if a, p, g, _ := c.Now(); a != acked || p != pending || g != gone {
			return fmt.Errorf("%d acked, %d pending, %d gone; want %d, %d, %d", a, p, g, acked, pending, gone)
		}
		return nil
	}
	await := func(what string, acked, pending, gone int) {
		t.Helper()
		if err := program.Await(10*time.Second, func() error { return counts(acked, pending, gone) }); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	ack := func(id string) int {
		req, _ := http.NewRequestWithContext(t.Context(), "PUT", f.server.URL+"/v1/skerry/follow/ack?ack="+name+"&id="+id, nil)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	f.put("a", "b")
	f.open("service=web")
	f.expect("view web: whole +a +b")
	await("a stream that was written", 1, 0, 0)
	f.body()
	await("a stream that ended", 0, 0, 0)
	if ack("x") != 404 {
		t.Error("a stream that is not open is acknowledged")
	}
	f.open("service=web&ack=" + name)
	first := f.expect("view web: whole +a +b")
	await("a view that is not acknowledged", 0, 1, 0)
	f.put("a")
	second := f.expect("view web: -n1/b")
	if ack(first) != 200 {
		t.Error("the first event is not known")
	}
	await("an older view that is acknowledged", 0, 1, 0)
	for _, again := range []string{"the second event", "the second event again"} {
		if ack(second) != 200 {
			t.Errorf("%s is not known", again)
		}
	}
	if ack(first) != 404 {
		t.Error("an event before the last acknowledged one is known still")
	}
	await("the view that is acknowledged", 1, 0, 0)
	for query, want := range map[string]int{"service=web&ack=" + name: 409, "service=web&ack=short": 400} {
		resp, err := http.Get(f.server.URL + "/v1/skerry/follow?" + query)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", query, resp.StatusCode, want)
		}
	}
}

// begins is where the positions of readers begin.
func begins(string) skerry.Position { return 1 << 30 }
