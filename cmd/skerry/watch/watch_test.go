package watch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/consul/api/watch"

	"github.com/skerryhq/skerry/tool/child"
)

func plan(t *testing.T) *watch.Plan {
	t.Helper()
	p, err := watch.Parse(map[string]any{"type": "services"})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Many failures in a row are told of once, and so is their end.
func TestTroubleIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, ctx, asked := plan(t), t.Context(), 0
		p.Watcher = func(p *watch.Plan) (watch.BlockingParamVal, any, error) {
			switch asked++; asked {
			case 1, 5:
				return watch.WaitIndexVal(asked), asked, nil
			case 2, 3, 4:
				return nil, nil, errors.New("away")
			}
			p.Stop()
			return watch.WaitIndexVal(5), 5, nil
		}
		var events []string
		start := time.Now()
		err := Run(ctx, nil, p,
			func(index string, data any) { events = append(events, fmt.Sprint("told ", index, " ", data)) },
			func(err error) { events = append(events, fmt.Sprint("trouble ", err)) })
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"told 1 1", "trouble away", "trouble <nil>", "told 5 5"}
		if !slices.Equal(events, want) {
			t.Errorf("%q, want %q", events, want)
		}
		if pause := time.Since(start); pause < 3*time.Second {
			t.Errorf("three failures took %v: there is no pause between them", pause)
		}
	})
}

func TestURL(t *testing.T) {
	got := make(chan string, 10)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- fmt.Sprint(r.Method, " ", r.Header.Get("X-Consul-Index"), " ", r.Header.Get("X-A"), " ", string(body))
		if r.URL.Path == "/bad" {
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	defer s.Close()
	h := URL(watch.HttpHandlerConfig{Path: s.URL, Method: "PUT", Header: map[string][]string{"x-a": {"b"}}})
	if err := h(t.Context(), "7", map[string]int{"a": 1}); err != nil {
		t.Fatal(err)
	}
	if s := <-got; s != `PUT 7 b {"a":1}` {
		t.Errorf("%q", s)
	}
	if err := URL(watch.HttpHandlerConfig{Path: s.URL + "/bad"})(t.Context(), "", nil); err == nil || !strings.Contains(err.Error(), "418") {
		t.Errorf("%v, want the status", err)
	}
	if s := <-got; s != "POST   null" {
		t.Errorf("%q", s)
	}
}

func TestProgramOutputIsInTheError(t *testing.T) {
	ds, err := Parse([]map[string]any{{"type": "services", "handler": "cat; head -c 100000 /dev/zero | tr '\\0' x; exit 3"}})
	if err != nil {
		t.Fatal(err)
	}
	err = ds[0].handler(slog.New(slog.DiscardHandler))(t.Context(), "1", "state")
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), `\"state\"`) {
		t.Fatalf("%.200v", err)
	}
	if n := len(err.Error()); n > headSize+500 {
		t.Errorf("an error of %d bytes", n)
	}
}

// agent answers every question at once with one state, then waits until the
// asker goes away.
func agent(t *testing.T) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("index") != "" {
			<-r.Context().Done()
			return
		}
		w.Header().Set("X-Consul-Index", "5")
		fmt.Fprintf(w, `{"%s": []}`, r.URL.Query().Get("dc"))
	}))
	t.Cleanup(s.Close)
	return s
}

func TestSetKeepsWhatStays(t *testing.T) {
	told := make(chan string, 10)
	target := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		told <- r.URL.Path + " " + string(body)
	}))
	defer target.Close()
	watchOf := func(path, dc string) map[string]any {
		return map[string]any{
			"type": "services", "datacenter": dc, "handler_type": "http", "http_handler_config": map[string]any{"path": target.URL + path},
		}
	}
	parsed := func(ws ...map[string]any) []Definition {
		t.Helper()
		ds, err := Parse(ws)
		if err != nil {
			t.Fatal(err)
		}
		return ds
	}
	set := NewSet(agent(t).Listener.Addr().String(), slog.New(slog.DiscardHandler))
	set.Replace(parsed(watchOf("/a", "one"), watchOf("/b", "two"), watchOf("/b", "two")))
	got := []string{<-told, <-told, <-told}
	slices.Sort(got)
	if want := []string{`/a {"one":[]}`, `/b {"two":[]}`, `/b {"two":[]}`}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	// The one that stays is not told again.
	set.Replace(parsed(watchOf("/a", "one"), watchOf("/c", "three")))
	if got := <-told; got != `/c {"three":[]}` {
		t.Errorf("%q", got)
	}
	set.Close()
	set.Replace(parsed(watchOf("/d", "four")))
	if n := len(set.running); n != 0 || len(told) != 0 {
		t.Errorf("%d watches run after the end, %d were told", n, len(told))
	}
}

// A program is told to end when its watch does.
func TestEndReachesTheProgram(t *testing.T) {
	ctx, end := context.WithCancel(t.Context())
	started, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- Program(child.Shell("trap 'exit 0' TERM; echo up; while :; do read -r x < /dev/null; done"), w, w)(ctx, "", nil)
	}()
	if _, err := started.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, started)
	end()
	<-ended
	w.Close()
}
