package consul

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skerryhq/skerry/client"
)

// A withdrawal asks for a drain, and has the registry's count; one that does not count has none. Nothing renews the
// registration meanwhile.
func TestWithdrawalsDrain(t *testing.T) {
	const count = `{"Acked":415,"Pending":0,"Gone":3,"Safe":true}`
	for name, test := range map[string]struct {
		lease      bool
		drain      time.Duration
		status     int
		answer     string
		want, safe bool
		asked      string
	}{
		"a lease":             {true, 30 * time.Second, 200, count, true, true, "DELETE /v1/skerry/owner/w1?drain=30s"},
		"an agent":            {false, 1500 * time.Millisecond, 200, count, true, true, "PUT /v1/agent/service/deregister/w1?drain=1.5s"},
		"readers are pending": {true, time.Hour, 200, `{"Pending":1,"Safe":false,"Waiting":["s3"]}`, true, false, "DELETE /v1/skerry/owner/w1?drain=10m0s"},
		"an old Skerry":       {true, 30 * time.Second, 200, "true", false, false, "DELETE /v1/skerry/owner/w1?drain=30s"},
		"Consul":              {false, 30 * time.Second, 200, "", false, false, "PUT /v1/agent/service/deregister/w1?drain=30s"},
		"it is gone":          {true, 30 * time.Second, 404, "no owner", false, false, "DELETE /v1/skerry/owner/w1?drain=30s"},
		"no drain":            {false, 0, 200, "", false, false, "PUT /v1/agent/service/deregister/w1"},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			var asked []string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				asked = append(asked, r.Method+" "+r.URL.RequestURI())
				mu.Unlock()
				switch {
				case strings.Contains(r.URL.Path, "deregister"), r.Method == http.MethodDelete:
					w.WriteHeader(test.status)
					io.WriteString(w, test.answer)
				default:
					io.WriteString(w, "{}")
				}
			}))
			defer server.Close()
			l, err := client.ParseLocation(strings.Replace(server.URL, "http", "skerry", 1))
			if err != nil {
				t.Fatal(err)
			}
			s, err := open(l, test.lease)
			if err != nil {
				t.Fatal(err)
			}
			registered := make(chan error, 100)
			a := s.Announce(client.Instance{ID: "w1", Service: "web", Address: "10.0.0.1:80"}, 10*time.Second, func(err error) { registered <- err })
			if err := <-registered; err != nil {
				t.Fatal(err)
			}
			w, err := a.Withdraw(t.Context(), test.drain)
			if err != nil || w.Counted != test.want || w.Safe != test.safe || test.safe && (w.Acked != 415 || w.Gone != 3) {
				t.Errorf("%+v, %v", w, err)
			}
			mu.Lock()
			defer mu.Unlock()
			if last := asked[len(asked)-1]; last != test.asked {
				t.Errorf("asked %s, want %s", last, test.asked)
			}
		})
	}
}
