package debug

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/skerryhq/skerry/client"
	"github.com/skerryhq/skerry/client/clienttest"
	"github.com/skerryhq/skerry/client/lb"
	"github.com/skerryhq/skerry/client/sourcetest"
)

func get(h http.Handler, method, url, accept string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, url, nil)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// a program with an instance that is out, one that is not used, and one of a name
// that wants to be a script.
func group(t *testing.T) *client.Group {
	m := &clienttest.Manual{}
	c := client.New(m, client.WithCacheDir(""))
	t.Cleanup(func() { c.Close() })
	m.Set("web", "<script>:1", "b:1", "c:1")
	sourcetest.Await(t, c, "web", time.Minute, "all", func(s client.Snapshot) bool { return len(s.Instances) == 3 })
	m.Fail("web", errors.New("no <answer>"))
	sourcetest.Await(t, c, "web", time.Minute, "failing", func(s client.Snapshot) bool { return s.Err != nil })
	b := lb.New(lb.Options{})
	b.Update(0, []lb.Node{{Key: "<script>:1"}, {Key: "b:1"}, {Key: "gone:1"}})
	for range 3 {
		b.Pick(0, lb.Request{Exclude: func(n *lb.Node) bool { return n.Key != "b:1" }}).Done(time.Millisecond, lb.Failed)
	}
	t.Cleanup(c.Attach("web", "grpc", func() []lb.State { return b.States(time.Millisecond) }))
	r, err := c.Register(client.Instance{Service: "orders", Address: "10.0.0.1:80"}, client.WithPropagation(0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return client.GroupOf("main", c)
}

func TestPage(t *testing.T) {
	h := Handler(group(t))
	w := get(h, "GET", "/debug", "text/html")
	for _, want := range []string{
		"web <small>(main)", `<b class="frozen">frozen</b>: 3 instances`, "no &lt;answer&gt;", "&lt;script&gt;:1", "grpc-1",
		"out: 3 calls in a row failed; is probed in", "not used", "gone:1", "orders-10.0.0.1:80", "not registered",
	} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("%q is not on the page:\n%s", want, w.Body)
		}
	}
	if w.Code != 200 || strings.Contains(w.Body.String(), "<script>") || !strings.HasPrefix(w.Header().Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("%d %v\n%s", w.Code, w.Header(), w.Body)
	}
	if w := get(Handler(&client.Group{}), "GET", "/", ""); !strings.Contains(w.Body.String(), "There are no clients") {
		t.Errorf("%s", w.Body)
	}
	if w := get(h, "POST", "/", ""); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %d", w.Code)
	}
}

func TestJSON(t *testing.T) {
	h := Handler(group(t))
	for _, w := range []*httptest.ResponseRecorder{get(h, "GET", "/?format=json", "text/html"), get(h, "GET", "/", "application/json")} {
		var got []struct {
			Name     string
			Services []struct {
				Freshness string
				Balancers []struct {
					Instances []lb.State
				}
			}
		}
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatalf("%v: %s", err, w.Body)
		}
		if len(got) != 1 || got[0].Name != "main" || got[0].Services[0].Freshness != "frozen" || got[0].Services[0].Balancers[0].Instances[1].Cause != lb.Consecutive {
			t.Errorf("%s", w.Body)
		}
	}
}
