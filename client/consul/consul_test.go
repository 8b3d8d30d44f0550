package consul

import (
	"context"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skerryhq/skerry/client"
	"github.com/skerryhq/skerry/client/sourcetest"
)

// registry answers blocking queries as the script says, one answer for each.
type registry struct {
	mu      sync.Mutex
	asked   []url.Values
	answers []func(w http.ResponseWriter)
}

func (r *registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if strings.HasPrefix(req.URL.Path, "/v1/skerry/") {
		http.NotFound(w, req)
		return
	}
	r.mu.Lock()
	r.asked = append(r.asked, req.URL.Query())
	var answer func(http.ResponseWriter)
	if len(r.answers) > 0 {
		answer, r.answers = r.answers[0], r.answers[1:]
	}
	r.mu.Unlock()
	if answer == nil {
		<-req.Context().Done()
		return
	}
	answer(w)
}

func list(index string, header string, ports ...int) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.Header().Set("X-Consul-Index", index)
		if header != "" {
			w.Header().Set("X-Skerry-Empty-Cause", header)
		}
		var parts []string
		for _, p := range ports {
			parts = append(parts, fmt.Sprintf(`{"Node":{"Node":"n","Address":"10.0.0.9"},"Service":{"ID":"w%d","Service":"web","Port":%d,"Weights":{"Passing":2},"Meta":{"zone":"z1"}}}`, p, p))
		}
		fmt.Fprintf(w, "[%s]", strings.Join(parts, ","))
	}
}

func fails(w http.ResponseWriter) { http.Error(w, "no leader", http.StatusInternalServerError) }

func source(t *testing.T, handler http.Handler, query string, before ...string) *Source {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.CloseClientConnections)
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	l, err := client.ParseLocation("consul://" + strings.Join(append(before, host), ",") + "/" + query)
	if err != nil {
		t.Fatal(err)
	}
	s, err := open(l, false)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestIndexRules(t *testing.T) {
	r := &registry{answers: []func(http.ResponseWriter){
		list("10", "", 1),
		list("10", "", 1), // the wait is over: no news
		list("12", "", 1, 2),
		fails,
		list("12", "", 1, 2),
		list("5", "", 1), // it fell: begin anew
		list("6", "deregistered"),
		list("7", "recovering"),
	}}
	s := source(t, r, "?tag=a&tag=b&dc=dc2")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var got []string
	for u, err := range s.Watch(ctx, "web") {
		switch {
		case err != nil:
			got = append(got, "error")
		case u.Proven:
			got = append(got, fmt.Sprint(u.Revision, " proven ", len(u.Instances)))
		case u.Unsettled:
			got = append(got, fmt.Sprint(u.Revision, " unsettled ", len(u.Instances)))
		default:
			got = append(got, fmt.Sprint(u.Revision, " ", len(u.Instances)))
			if i := u.Instances[0]; i.ID != "n/w1" || i.Address != "10.0.0.9:1" || i.Weight != 2 || i.Zone != "z1" || i.Service != "web" {
				t.Errorf("instance %+v", i)
			}
		}
		if len(got) == 7 {
			break
		}
	}
	want := "10 1, 12 2, error, 12 2, 5 1, 6 proven 0, 7 unsettled 0"
	if strings.Join(got, ", ") != want {
		t.Errorf("yielded %s, want %s", strings.Join(got, ", "), want)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var indexes []string
	for _, q := range r.asked {
		indexes = append(indexes, q.Get("index"))
		if strings.Join(q["tag"], ",") != "a,b" || q.Get("dc") != "dc2" || q.Get("passing") != "1" || (q.Get("index") == "") != (q.Get("wait") == "") {
			t.Errorf("asked with %v", q)
		}
	}
	if got := strings.Join(indexes, ","); !strings.HasPrefix(got, ",10,10,12,,12,,6") {
		t.Errorf("asked with the indexes %s", got)
	}
}

// One of the addresses being dead delays nothing.
func TestDeadAddress(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := l.Addr().String()
	l.Close()
	s := source(t, &registry{answers: []func(http.ResponseWriter){list("10", "", 1)}}, "", dead)
	for u, err := range s.Watch(t.Context(), "web") {
		if err != nil || len(u.Instances) != 1 {
			t.Errorf("%+v %v", u, err)
		}
		break
	}
}

func TestParameters(t *testing.T) {
	for query, want := range map[string]string{
		"?nonsense=1":  `unknown parameter "nonsense"`,
		"?passing=no!": "want true or false",
		"?ca=/nowhere": "ca:",
		"":             "",
	} {
		l, err := client.ParseLocation("skerry://" + query)
		if err != nil {
			t.Fatal(err)
		}
		s, err := open(l, true)
		if want == "" {
			if err != nil || s.api.hosts[0] != "127.0.0.1:8500" {
				t.Errorf("%q: %v %v", query, s, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", query, err, want)
		}
	}
}

// FuzzAnswer: whatever a registry answers, it is a list or an error.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`[{"Node":{"Node":"n","Address":"10.0.0.9"},"Service":{"ID":"a","Port":1,"Meta":{"started":"x"}}}]`), "5", "unknown")
	f.Add([]byte(`[null]`), "-1", "")
	f.Fuzz(func(t *testing.T, body []byte, index, cause string) {
		s := &Source{api: &api{hosts: []string{"a"}, scheme: "http", client: &http.Client{Transport: answering{body, index, cause}}}}
		u, next, err := s.ask(t.Context(), "web", 0)
		if err == nil && next == 0 {
			t.Errorf("index 0 from %q, %+v", index, u)
		}
	})
}

type answering struct {
	body         []byte
	index, cause string
}

func (a answering) RoundTrip(*http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	w.Header()["X-Consul-Index"] = []string{a.index}
	w.Header()["X-Skerry-Empty-Cause"] = []string{a.cause}
	w.Write(a.body)
	return w.Result(), nil
}

// The tagged address that is asked for is called where there is one; Kratos's are URLs.
func TestTaggedAddresses(t *testing.T) {
	answer := func(w http.ResponseWriter) {
		w.Header().Set("X-Consul-Index", "7")
		fmt.Fprint(w, `[
			{"Node":{"Node":"n"},"Service":{"ID":"a","Service":"web","Address":"10.0.0.1","Port":80,"TaggedAddresses":{"wan":{"Address":"198.51.100.1","Port":8080}}}},
			{"Node":{"Node":"n"},"Service":{"ID":"b","Service":"web","Address":"10.0.0.2","Port":8000,"TaggedAddresses":{
				"http":{"Address":"http://10.0.0.2:8000","Port":8000},"grpc":{"Address":"grpc://10.0.0.2:9000?isSecure=false","Port":9000}}}},
			{"Node":{"Node":"n","Address":"10.0.0.3"},"Service":{"ID":"c","Service":"web","Port":80}}]`)
	}
	for query, want := range map[string]string{
		"":             "10.0.0.1:80 10.0.0.2:8000 10.0.0.3:80",
		"?tagged=wan":  "198.51.100.1:8080 10.0.0.2:8000 10.0.0.3:80",
		"?tagged=grpc": "10.0.0.1:80 10.0.0.2:9000 10.0.0.3:80",
	} {
		s := source(t, &registry{answers: []func(http.ResponseWriter){answer}}, query)
		u := sourcetest.List(t, sourcetest.Watch(t, s, "web"), 10*time.Second, want)
		if len(u.Instances) != 3 {
			t.Errorf("%s: %v", query, u)
		}
	}
}

func TestTLS(t *testing.T) {
	server := httptest.NewTLSServer(&registry{answers: []func(http.ResponseWriter){list("7", "", 80)}})
	defer server.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := client.ParseLocation("skerry://" + strings.TrimPrefix(server.URL, "https://") + "/?ca=" + ca)
	if err != nil {
		t.Fatal(err)
	}
	s, err := open(l, true)
	if err != nil {
		t.Fatal(err)
	}
	sourcetest.List(t, sourcetest.Watch(t, s, "web"), 10*time.Second, "10.0.0.9:80")
	for query, want := range map[string]string{"ca=/none": "no such file", "tls=perhaps": `tls="perhaps"`, "cert=x": "cert and key", "passing=2": "passing"} {
		if l.Query, err = url.ParseQuery(query); err != nil {
			t.Fatal(err)
		}
		if _, err := open(l, true); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", query, err, want)
		}
	}
}
