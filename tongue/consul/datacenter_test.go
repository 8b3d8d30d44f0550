package consul

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry"
)

// Every endpoint that is answered by a datacenter refuses one that is not known, in the
// same way, before it does anything; the others do not mind ?dc=.
func TestDatacenterOfEveryRoute(t *testing.T) {
	const unknown = "No path to datacenter"
	front, err := New(Config{}, Backend{Self: skerry.Self{Datacenter: "dc1"}}, NewMetrics(prometheus.NewRegistry()))
	if err != nil {
		t.Fatal(err)
	}
	for i := range routes {
		r := &routes[i]
		if r.at != byDatacenter {
			continue
		}
		for _, method := range r.methods {
			path := r.path
			if strings.HasSuffix(path, "/") {
				path += "x"
			}
			w := httptest.NewRecorder()
			front.ServeHTTP(w, httptest.NewRequest(method, path+"?dc=nowhere", strings.NewReader("{}")))
			if w.Code != http.StatusInternalServerError || w.Body.String() != unknown {
				t.Errorf("%s %s?dc=nowhere: %d %s", method, path, w.Code, w.Body)
			}
		}
	}
}
