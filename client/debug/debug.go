// Package debug is a page that shows what the clients of a program know, and why calls
// go where they go.
//
//	c, err := client.Open("skerry://127.0.0.1:8500")
//	…
//	mux.Handle("/debug/skerry", debug.Handler(client.GroupOf("main", c)))
//
// It shows addresses of instances and errors: serve it where only operators come.
package debug

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"

	"github.com/skerryhq/skerry/client"
	"github.com/skerryhq/skerry/client/lb"
)

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"short":   func(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) },
	"percent": func(share float64) string { return fmt.Sprintf("%.1f %%", 100*share) },
	"ago":     func(t time.Time) string { return time.Since(t).Round(time.Second).String() + " ago" },
	"tables":  tables,
	"why":     why,
}).Parse(pageText))

// Handler serves the page: as HTML, or as JSON if the parameter format=json or the Accept
// header asks for it.
func Handler(g *client.Group) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "the page can only be read: use GET", http.StatusMethodNotAllowed)
			return
		}
		members := g.Explain()
		w.Header().Set("Cache-Control", "no-store")
		if r.URL.Query().Get("format") == "json" || strings.HasPrefix(r.Header.Get("Accept"), "application/json") {
			w.Header().Set("Content-Type", "application/json")
			e := json.NewEncoder(w)
			e.SetIndent("", "  ")
			_ = e.Encode(members) // the client has gone
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
		_ = page.Execute(w, members)
	})
}

// table is a service's instances as one balancer judges them.
type table struct {
	Balancer string // "" if there are no calls to them
	Rows     []row
}

// row is an instance, and what the balancer knows of it; nil if nothing, as of those
// that are not in its subset.
type row struct {
	client.Instance
	Judged *lb.State
}

// tables returns a table for each balancer of a service. An instance that a balancer
// judges and the list no longer has is shown as well.
func tables(s client.ServiceState) []table {
	balancers := s.Balancers
	if len(balancers) == 0 {
		balancers = []client.BalancerState{{}}
	}
	var all []table
	for _, b := range balancers {
		judged := map[string]*lb.State{}
		for i := range b.Instances {
			judged[b.Instances[i].Key] = &b.Instances[i]
		}
		t := table{Balancer: b.Name}
		for _, i := range s.Instances {
			t.Rows = append(t.Rows, row{i, judged[i.ID]})
			delete(judged, i.ID)
		}
		for i := range b.Instances {
			if j := &b.Instances[i]; judged[j.Key] != nil {
				t.Rows = append(t.Rows, row{client.Instance{ID: j.Key, Zone: j.Zone}, j})
			}
		}
		all = append(all, t)
	}
	return all
}

// why explains in words how an instance stands.
func why(r row) string {
	switch j := r.Judged; {
	case j == nil:
		return "not used"
	case j.Out:
		return fmt.Sprintf("out: %s; is probed in %v", j.Reason, j.ProbeIn.Round(100*time.Millisecond))
	case r.Draining:
		return "draining"
	case j.Down:
		return "no connection"
	case j.Ready < 1:
		return fmt.Sprintf("takes %.0f %% of its share so far", 100*j.Ready)
	}
	return "in"
}
