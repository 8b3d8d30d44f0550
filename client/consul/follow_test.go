package consul

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skerryhq/skerry/client"
	"github.com/skerryhq/skerry/client/sourcetest"
)

// streams is a server of streams: it sends each what the test says, and notes what it was asked.
type streams struct {
	server *httptest.Server
	ping   string // the header; "" sends none
	send   chan string
	mu     sync.Mutex
	asked  []url.Values
}

func newStreams(t *testing.T) *streams {
	s := &streams{send: make(chan string), ping: "1m"}
	s.server = httptest.NewServer(s)
	t.Cleanup(s.server.Close)
	t.Cleanup(s.server.CloseClientConnections)
	return s
}

// ServeHTTP sends events until it is sent "end".
func (s *streams) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked = append(s.asked, r.URL.Query())
	s.mu.Unlock()
	if r.URL.Query().Get("service") != "web" {
		http.Error(w, "rpc error: ACL not found", http.StatusForbidden)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	if s.ping != "" {
		w.Header().Set("X-Skerry-Ping", s.ping)
	}
	for text := range s.texts(r.Context()) {
		io.WriteString(w, text)
		http.NewResponseController(w).Flush()
	}
}

func (s *streams) texts(ctx context.Context) func(func(string) bool) {
	return func(yield func(string) bool) {
		for next := true; next; {
			select {
			case text := <-s.send:
				next = text != "end" && yield(text)
			case <-ctx.Done():
				return
			}
		}
	}
}

func (s *streams) resumes() (tokens []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range s.asked {
		tokens = append(tokens, q.Get("resume"))
	}
	return tokens
}

// follow watches web at the addresses of the servers.
func follow(t *testing.T, query string, all ...*streams) <-chan sourcetest.Told {
	t.Helper()
	return sourcetest.Watch(t, skerrySource(t, query, all...), "web")
}

func skerrySource(t *testing.T, query string, all ...*streams) *Source {
	t.Helper()
	var hosts []string
	for _, s := range all {
		hosts = append(hosts, strings.TrimPrefix(s.server.URL, "http://"))
	}
	l, err := client.ParseLocation("skerry://" + strings.Join(hosts, ",") + "/" + query)
	if err != nil {
		t.Fatal(err)
	}
	s, err := open(l, true)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// instance is one of node n; status is that of its check.
func instance(port int, status string) string {
	return fmt.Sprintf(`{"Node":{"Node":"n","Address":"10.0.0.9"},"Service":{"ID":"w%d","Service":"web","Port":%d,"Tags":["V%d"]},"Checks":[{"Status":%q}]}`, port, port, port%2, status)
}

func up(ports ...int) string {
	var all []string
	for _, p := range ports {
		all = append(all, instance(p, "passing"))
	}
	return "[" + strings.Join(all, ",") + "]"
}

func viewed(id, data string) string {
	return "event: view\nid: " + id + "\ndata: {" + data + "}\n\n"
}

func next(t *testing.T, tell <-chan sourcetest.Told) sourcetest.Told {
	t.Helper()
	return sourcetest.Until(t, tell, 10*time.Second, "any news", func(sourcetest.Told) bool { return true })
}

// says returns what a Told says, in the order of the IDs.
func says(u sourcetest.Told) string {
	slices.SortFunc(u.Instances, func(a, b client.Instance) int { return strings.Compare(a.ID, b.ID) })
	text := u.String()
	if u.Proven {
		text += " proven"
	}
	if u.Unsettled {
		text += " unsettled"
	}
	if u.Stale != nil {
		text += " stale"
	}
	return strings.TrimSpace(strings.NewReplacer("n/", "", "=10.0.0.9:1", "", "=10.0.0.9:2", "", "=10.0.0.9:3", "").Replace(text))
}

func TestAStreamBecomesLists(t *testing.T) {
	s := newStreams(t)
	tell := follow(t, "", s)
	for _, step := range []struct{ send, want string }{
		{viewed("a", `"Whole":true,"Position":0.375,"Entries":`+up(1, 2)), "w1 w2"},
		{": comment\n\nevent: other\ndata: {}\n\n" + viewed("b", `"Entries":`+up(3)), "w1 w2 w3"},
		{viewed("c", `"Draining":`+up(1)), "w1(draining) w2 w3"},
		{viewed("d", `"Removed":[{"Node":"n","ID":"w1"},{"Node":"n","ID":"w2"},{"Node":"other","ID":"w3"}]`), "w3 left:w1"},
		{"event: state\ndata: {\"Stale\":7}\n\n", "w3 stale"},
		{viewed("e", `"Entries":`+up(2)), "w2 w3 stale"},
		{"event: state\ndata: {\"Stale\":0}\n\n", "w2 w3"},
		{viewed("f", `"Entries":[`+instance(2, "critical")+`]`), "w3"},
		{viewed("g", `"Removed":[{"Node":"n","ID":"w2"},{"Node":"n","ID":"w3"}],"Cause":"deregistered"`), "proven"},
		{viewed("h", `"Cause":"recovering"`), "unsettled"},
	} {
		s.send <- step.send
		told := next(t, tell)
		if told.Position != .375 {
			t.Errorf("after %s: position %v, want .375", step.send, told.Position)
		}
		if got := says(told); got != step.want {
			t.Fatalf("after %s: %q, want %q", step.send, got, step.want)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if q := s.asked[0]; q.Get("service") != "web" || q.Get("ping") != "5s" || q.Has("resume") {
		t.Errorf("asked %v", q)
	}
}

// The parameters choose as those of blocking queries do.
func TestAStreamIsFiltered(t *testing.T) {
	whole := viewed("a", `"Whole":true,"Entries":[`+instance(1, "passing")+","+instance(2, "passing")+","+instance(3, "warning")+`]`)
	for query, want := range map[string]string{"": "w1 w2", "?passing=false": "w1 w2 w3", "?tag=v1": "w1", "?tag=v0&tag=v1": "", "?passing=false&tag=V1": "w1 w3"} {
		s := newStreams(t)
		tell := follow(t, query, s)
		s.send <- whole
		if got := says(next(t, tell)); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
}

// A stream that ends, errs or is silent goes on at the next address with its token. No error is told while one
// answers.
func TestAStreamGoesOnElsewhere(t *testing.T) {
	for name, end := range map[string]string{"ends": "end", "refuses the token": "event: error\ndata: {\"Error\":\"ACL not found\"}\n\n", "is silent": ":\n\n", "knows nothing": "event: unknown\ndata: {}\n\n", "is mad": "event: view\ndata: {{\n\n"} {
		t.Run(name, func(t *testing.T) {
			a, b := newStreams(t), newStreams(t)
			if name == "is silent" {
				a.ping = "100ms"
			}
			tell := follow(t, "", a, b)
			a.send <- viewed("token-1", `"Whole":true,"Entries":`+up(1, 2))
			if got := says(next(t, tell)); got != "w1 w2" {
				t.Fatal(got)
			}
			a.send <- end
			token, first := "token-1", "event: same\nid: token-1\ndata: {}\n\n"
			if name == "is mad" { // it may have sent anything
				token, first = "", viewed("token-2", `"Whole":true,"Entries":`+up(1, 2))
			}
			b.send <- first
			if got := says(next(t, tell)); got != "w1 w2" {
				t.Fatal(got)
			}
			b.send <- viewed("token-3", `"Entries":`+up(3))
			if got := says(next(t, tell)); got != "w1 w2 w3" {
				t.Fatal(got)
			}
			if got := b.resumes(); !slices.Equal(got, []string{token}) {
				t.Errorf("resumes with %q, want %q", got, token)
			}
		})
	}
}

// A whole view after an interruption replaces the list; those that were draining have left.
func TestAWholeViewReplacesTheList(t *testing.T) {
	s := newStreams(t)
	tell := follow(t, "", s)
	s.send <- viewed("a", `"Whole":true,"Entries":`+up(1, 2)+`,"Draining":`+up(3))
	if got := says(next(t, tell)); got != "w1 w2 w3(draining)" {
		t.Fatal(got)
	}
	s.send <- "end"
	if got := next(t, tell); got.Err == nil {
		t.Fatalf("%v, want an error: there is no other address", got)
	}
	s.send <- viewed("b", `"Whole":true,"Entries":`+up(2))
	if got := says(next(t, tell)); got != "w2 left:w3" {
		t.Error(got)
	}
}

// With one address a list that is unknown is waited for, and a refusal is told.
func TestUnknownAndRefused(t *testing.T) {
	s := newStreams(t)
	tell := follow(t, "", s)
	s.send <- "event: unknown\ndata: {\"Error\":\"no server\"}\n\n"
	if got := next(t, tell); got.Err == nil || !strings.Contains(got.Err.Error(), "no server") {
		t.Errorf("%v, want the reason", got)
	}
	s.send <- viewed("a", `"Whole":true,"Entries":`+up(1))
	if got := says(next(t, tell)); got != "w1" {
		t.Error(got)
	}
	refused := next(t, sourcetest.Watch(t, skerrySource(t, "", s), "secret"))
	if status := (*errStatus)(nil); !errors.As(refused.Err, &status) || status.status != http.StatusForbidden {
		t.Errorf("%v, want a refusal", refused)
	}
}

// A registry without streams, and a view that is too large for one, are left to blocking queries.
func TestBlockingQueriesWhereThereAreNoStreams(t *testing.T) {
	for name, refuse := range map[string]http.HandlerFunc{
		"not found": http.NotFound,
		"a page":    func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") },
		"a large view": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, "data: "+strings.Repeat("x", maxLine)+"\n\n")
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := &registry{answers: []func(http.ResponseWriter){list("10", "", 1), list("11", "", 1, 2), fails, list("12", "", 2)}}
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if req.URL.Path == "/v1/skerry/follow" {
					refuse(w, req)
					return
				}
				r.ServeHTTP(w, req)
			}))
			defer server.Close()
			defer server.CloseClientConnections()
			s := skerrySource(t, "", &streams{server: server})
			tell := sourcetest.Watch(t, s, "web")
			for _, want := range []string{"10.0.0.9:1", "10.0.0.9:1 10.0.0.9:2", "10.0.0.9:2"} {
				sourcetest.List(t, tell, 10*time.Second, want)
			}
		})
	}
	if skerrySource(t, "?dc=dc2", newStreams(t)).streams {
		t.Error("another datacenter's services are followed by a stream, which has only those of its own")
	}
}

// FuzzEvents: whatever a stream says, it is lists or an error.
func FuzzEvents(f *testing.F) {
	f.Add([]byte(viewed("a", `"Whole":true,"Entries":`+up(1))))
	f.Add([]byte("event: same\ndata: {}\n\nevent: state\ndata: {\"Stale\":1}\r\n\r\ndata\n\n:\n\nevent: view\ndata: {\"Whole\":true,\ndata: \"Removed\":[{}],\"Draining\":[{}]}\n\n"))
	f.Add([]byte("event: unknown\ndata: null\n\nevent: error\ndata: 1\n\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		source := &Source{api: &api{hosts: []string{"a", "b"}}}
		fo := &follower{s: source, service: "web", view: source.view(), yield: func(u client.Update, err error) bool {
			if err != nil && u.Instances != nil {
				t.Errorf("an error with a list: %v %v", u, err)
			}
			return true
		}}
		in, told := newEvents(strings.NewReader(string(text))), false
		for {
			e, err := in.next()
			if err == nil {
				err = fo.take(&e, &told)
			}
			if err != nil {
				break
			}
		}
		if told && fo.view.kept == nil {
			t.Error("told of no view")
		}
	})
}
