package query_test

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/catalog"
	"github.com/skerryhq/skerry/decided/decidedtest"
	"github.com/skerryhq/skerry/decided/query"
	"github.com/skerryhq/skerry/decided/session"
	"github.com/skerryhq/skerry/quorum/replica/replicatest"
)

// places are where the nodes of the tests stand on a line, in seconds.
var places = map[string]float64{"n1": 0, "n2": 1, "n3": 3}

func newQueries(t testing.TB) *query.Store {
	return queriesIn(replicatest.NewMemory(), newTable(t))
}

// newTable returns a catalog with three instances of "web".
func newTable(t testing.TB) *catalog.Table {
	table := catalog.New(catalog.Config{})
	decidedtest.Announce(t, table, "n1", "10.0.0.1", []string{"a", "B"}, map[string]string{"v": "1"}, skerry.Passing)
	decidedtest.Announce(t, table, "n2", "10.0.0.2", []string{"b"}, nil, skerry.Warning)
	decidedtest.Announce(t, table, "n3", "10.0.0.3", nil, map[string]string{"v": "1"}, skerry.Critical)
	return table
}

func queriesIn(kv skerry.KV, table skerry.Catalog) *query.Store {
	return query.New(query.Options{
		KV: kv, Catalog: table,
		From: func(node string) func(string) float64 {
			from, ok := places[node]
			if !ok {
				return nil
			}
			return func(to string) float64 { return math.Abs(places[to] - from) }
		},
	})
}

func create(t testing.TB, q *query.Store, one skerry.PreparedQuery) string {
	t.Helper()
	id, err := q.CreateQuery(t.Context(), one)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func nodesOf(r *skerry.QueryResult) (names []string) {
	for _, e := range r.Entries {
		names = append(names, e.Node.Name)
	}
	return names
}

func TestQueriesBeneath(t *testing.T) {
	q := newQueries(t)
	web := skerry.ServiceQuery{Service: "web"}
	id := create(t, q, skerry.PreparedQuery{Name: "Geo.Shop.example", Service: web})
	create(t, q, skerry.PreparedQuery{Name: "a.b", Template: skerry.QueryTemplate{Type: skerry.TemplatePrefix}, Service: web})
	for name, want := range map[string]bool{"example": true, "SHOP.example": true, "geo.shop.example": false, "hop.example": false, "b": false, "": false} {
		if got := q.QueriesBeneath(name); got != want {
			t.Errorf("beneath %q: %v", name, got)
		}
	}
	if err := q.DeleteQuery(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if q.QueriesBeneath("example") {
		t.Error("the query is gone")
	}
}

func TestQuerySelects(t *testing.T) {
	q := newQueries(t)
	for name, c := range map[string]struct {
		service skerry.ServiceQuery
		want    string
	}{
		"healthy":        {skerry.ServiceQuery{}, "n1 n2"},
		"passing":        {skerry.ServiceQuery{OnlyPassing: true}, "n1"},
		"ignored":        {skerry.ServiceQuery{IgnoreCheckIDs: []string{"c-n3"}}, "n1 n2 n3"},
		"ignored-strict": {skerry.ServiceQuery{IgnoreCheckIDs: []string{"c-n3"}, OnlyPassing: true}, "n1 n3"},
		"tag":            {skerry.ServiceQuery{Tags: []string{"b"}}, "n1 n2"},
		"tag-not":        {skerry.ServiceQuery{Tags: []string{"b", "!A"}}, "n2"},
		"node-meta":      {skerry.ServiceQuery{NodeMeta: map[string]string{"v": "1"}}, "n1"},
		"service-meta":   {skerry.ServiceQuery{ServiceMeta: map[string]string{"v": "1"}}, "n1"},
		"no-such-meta":   {skerry.ServiceQuery{ServiceMeta: map[string]string{"v": "2"}}, ""},
		"mesh":           {skerry.ServiceQuery{Connect: true}, ""},
		"peer":           {skerry.ServiceQuery{Peer: "other"}, ""},
	} {
		c.service.Service = "web"
		create(t, q, skerry.PreparedQuery{Name: name, Service: c.service})
		r, err := q.ExecuteQuery(name, skerry.QueryAsk{})
		if err != nil {
			t.Fatal(err)
		}
		got := nodesOf(r)
		slices.Sort(got)
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: nodes %v, want %s", name, got, c.want)
		}
		kept, dropped := r.Pipeline.Explain(r.View.Entries)
		if len(kept) != len(got) || len(kept)+len(dropped) != 3 {
			t.Errorf("%s: explained as %d kept, %d dropped", name, len(kept), len(dropped))
		}
		for _, d := range dropped {
			if d.Reason == "" {
				t.Errorf("%s: no reason for %s", name, d.Entry.Node.Name)
			}
		}
	}
}

func TestQueryOrder(t *testing.T) {
	table := newTable(t)
	q := queriesIn(replicatest.NewMemory(), table)
	all := []string{"c-n3"}
	create(t, q, skerry.PreparedQuery{Name: "any", Service: skerry.ServiceQuery{Service: "web", IgnoreCheckIDs: all}})
	create(t, q, skerry.PreparedQuery{Name: "near", Service: skerry.ServiceQuery{Service: "web", IgnoreCheckIDs: all, Near: "n3"}})
	create(t, q, skerry.PreparedQuery{Name: "own", Service: skerry.ServiceQuery{Service: "web", IgnoreCheckIDs: all, Near: "_agent"}})
	create(t, q, skerry.PreparedQuery{Name: "ip", Service: skerry.ServiceQuery{Service: "web", IgnoreCheckIDs: all, Near: "_ip"}})
	for _, c := range []struct {
		name string
		ask  skerry.QueryAsk
		want string
	}{
		{"near", skerry.QueryAsk{}, "n3 n2 n1"},
		{"near", skerry.QueryAsk{Near: "n1"}, "n1 n2 n3"},
		{"near", skerry.QueryAsk{Limit: 2}, "n3 n2"},
		{"own", skerry.QueryAsk{Agent: "n2"}, "n2 n1 n3"},
		{"ip", skerry.QueryAsk{Source: netip.MustParseAddr("::ffff:10.0.0.1")}, "n1 n2 n3"},
	} {
		r, err := q.ExecuteQuery(c.name, c.ask)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(nodesOf(r), " "); got != c.want || !r.Nearest {
			t.Errorf("%s with %+v: %s, want %s", c.name, c.ask, got, c.want)
		}
	}
	seen := map[string]bool{}
	for range 200 {
		r, err := q.ExecuteQuery("any", skerry.QueryAsk{})
		if err != nil || r.Nearest {
			t.Fatal(err, r)
		}
		seen[nodesOf(r)[0]] = true
	}
	if len(seen) != 3 {
		t.Errorf("only %v came first in 200 answers", seen)
	}
	if len(table.Service("web").Entries) != 3 || table.Service("web").Entries[0].Node.Name != "n1" {
		t.Error("the view was written to")
	}
}

func TestQueryTemplates(t *testing.T) {
	q := newQueries(t)
	template := func(name, re string, s skerry.ServiceQuery) {
		create(t, q, skerry.PreparedQuery{Name: name, Template: skerry.QueryTemplate{Type: skerry.TemplatePrefix, Regexp: re, RemoveEmptyTags: true}, Service: s})
	}
	template("", "", skerry.ServiceQuery{Service: "${name.full}"})
	template("geo-", "", skerry.ServiceQuery{Service: "${name.suffix}", Tags: []string{"$${x}", "${ name.prefix }!"}})
	template("geo-db-", `^geo-db-(.*?)-([^\-]+?)$`, skerry.ServiceQuery{
		Service: "mysql-${match(1)}", Tags: []string{"${match(2)}", "${match(7)}", "!${match(7)}"}, NodeMeta: map[string]string{"k": "x${match(0)}"},
		Failover: skerry.QueryFailover{Datacenters: []string{"${match(1)}"}}, Near: "${agent.segment}",
	})
	create(t, q, skerry.PreparedQuery{Name: "Geo-exact", Service: skerry.ServiceQuery{Service: "${kept}"}})
	for asked, want := range map[string]skerry.ServiceQuery{
		"web":               {Service: "web"},
		"Geo-Web":           {Service: "Web", Tags: []string{"${x}", "geo-!"}},
		"geo-db-users-blue": {Service: "mysql-users", Tags: []string{"blue"}, NodeMeta: map[string]string{"k": "xgeo-db-users-blue"}, Failover: skerry.QueryFailover{Datacenters: []string{"users"}}},
		"geo-db-x":          {Service: "mysql-", Tags: []string{}, NodeMeta: map[string]string{"k": "x"}, Failover: skerry.QueryFailover{Datacenters: []string{""}}},
		"geo-EXACT":         {Service: "${kept}"},
	} {
		got, err := q.ResolveQuery(asked)
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprintf("%+v", got.Service) != fmt.Sprintf("%+v", want) {
			t.Errorf("%s:\n got %+v\nwant %+v", asked, got.Service, want)
		}
	}
	if r, err := q.ExecuteQuery("web", skerry.QueryAsk{}); err != nil || len(r.Entries) != 2 {
		t.Errorf("the template for everything: %v, %v", r, err)
	}
}

func TestQueryRefusals(t *testing.T) {
	q := newQueries(t)
	web := skerry.ServiceQuery{Service: "web"}
	id := create(t, q, skerry.PreparedQuery{Name: "Taken", Service: web})
	create(t, q, skerry.PreparedQuery{Name: "p-", Template: skerry.QueryTemplate{Type: skerry.TemplatePrefix}, Service: web})
	template := func(re, service string) skerry.PreparedQuery {
		return skerry.PreparedQuery{Name: "t", Template: skerry.QueryTemplate{Type: skerry.TemplatePrefix, Regexp: re}, Service: skerry.ServiceQuery{Service: service}}
	}
	for want, query := range map[string]skerry.PreparedQuery{
		"name 'taken' aliases an existing query name":                          {Name: "taken", Service: web},
		"name 'P-' aliases an existing query name":                             {Name: "P-", Template: skerry.QueryTemplate{Type: skerry.TemplatePrefix}, Service: web},
		"name '" + id + "' aliases an existing query ID":                       {Name: id, Service: web},
		"invalid session \"none\"":                                             {Name: "s", Session: "none", Service: web},
		"Must be bound to a session":                                           {Service: web},
		"Bad Token '<hidden>': give the token itself, or leave it out":         {Name: "x", Token: "<hidden>", Service: web},
		"Targets cannot be populated with NearestN or Datacenters":             {Name: "x", Service: skerry.ServiceQuery{Service: "web", Failover: skerry.QueryFailover{NearestN: 1, Targets: []skerry.FailoverTarget{{Peer: "p"}}}}},
		"failed compiling template: Bad format":                                template("", "${name.full"),
		"failed compiling template: Bad format '${match(x)}': use name.full":   template("", "${match(x)}"),
		"failed compiling template: Bad Regexp: error parsing regexp: missing": template("[", "web"),
		"DNS TTL '-1', must be >=0":                                            {Name: "x", Service: web, TTL: "-1ns"},
	} {
		if _, err := q.CreateQuery(t.Context(), query); skerry.KindOf(err) != skerry.Invalid || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if all, _, _ := q.Queries(); len(all) != 2 {
		t.Errorf("%d queries are there after the refusals, want 2", len(all))
	}
	if err := q.UpdateQuery(t.Context(), skerry.PreparedQuery{ID: "none", Name: "x", Service: web}); err == nil {
		t.Error("what is not there was updated")
	}
}

// A name is free again once its query is renamed or removed, and the indexes move.
func TestQueryChanges(t *testing.T) {
	q := newQueries(t)
	web := skerry.ServiceQuery{Service: "web"}
	id := create(t, q, skerry.PreparedQuery{Name: "one", Service: web})
	_, before, _ := q.Queries()
	_, changed := q.WatchQueries()
	if err := q.UpdateQuery(t.Context(), skerry.PreparedQuery{ID: id, Name: "two", Service: web}); err != nil {
		t.Fatal(err)
	}
	<-changed
	query, index, _ := q.Query(id)
	if _, all, _ := q.Queries(); all <= before || index != all || query.Created >= query.Modified {
		t.Errorf("indexes %d → %d (%d), stamp %+v", before, all, index, query.Stamp)
	}
	if err := q.UpdateQuery(t.Context(), skerry.PreparedQuery{ID: id, Name: "two", Service: web}); err != nil {
		t.Fatal(err)
	}
	if _, again, _ := q.Query(id); again != index {
		t.Error("the same again moved the index")
	}
	other := create(t, q, skerry.PreparedQuery{Name: "one", Service: web})
	if err := q.DeleteQuery(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if _, err := q.ExecuteQuery("two", skerry.QueryAsk{}); skerry.KindOf(err) != skerry.NotFound {
		t.Errorf("a deleted query answers: %v", err)
	}
	if err := q.DeleteQuery(t.Context(), id); err == nil {
		t.Error("it was deleted twice")
	}
	if got, err := q.ResolveQuery("ONE"); err != nil || got.ID != other {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestQueriesGoWithTheirSession(t *testing.T) {
	kv, table := replicatest.NewMemory(), newTable(t)
	q, store := queriesIn(kv, table), session.New(session.Options{KV: kv, Catalog: table})
	id, err := store.CreateSession(t.Context(), skerry.Session{Node: "n1"})
	if err != nil {
		t.Fatal(err)
	}
	bound := create(t, q, skerry.PreparedQuery{Session: id, Service: skerry.ServiceQuery{Service: "web"}})
	create(t, q, skerry.PreparedQuery{Name: "named", Session: id, Service: skerry.ServiceQuery{Service: "web"}})
	free := create(t, q, skerry.PreparedQuery{Name: "free", Service: skerry.ServiceQuery{Service: "web"}})
	if _, err := q.ExecuteQuery(bound, skerry.QueryAsk{}); err != nil {
		t.Fatal(err)
	}
	if err := store.DestroySession(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if all, _, _ := q.Queries(); len(all) != 1 || all[0].ID != free {
		t.Errorf("left over: %v", all)
	}
	create(t, q, skerry.PreparedQuery{Name: "named", Service: skerry.ServiceQuery{Service: "web"}})
}

// Filling in a template neither fails nor brings back the mark of a part.
func FuzzQueryTemplate(f *testing.F) {
	f.Add("${match(1)}-${name.suffix}", `^x(.*)$`, "xabc")
	f.Add("$${${name.full}", "", "")
	f.Fuzz(func(t *testing.T, service, re, name string) {
		q := query.New(query.Options{KV: replicatest.NewMemory(), Catalog: catalog.New(catalog.Config{})})
		_, err := q.CreateQuery(t.Context(), skerry.PreparedQuery{
			Name: "x", Service: skerry.ServiceQuery{Service: service}, Template: skerry.QueryTemplate{Type: skerry.TemplatePrefix, Regexp: re},
		})
		got, found := q.ResolveQuery("x" + name)
		if (err == nil) != (found == nil) {
			t.Fatalf("stored: %v, found: %v", err, found)
		}
		if err == nil && utf8.ValidString(service) && !strings.Contains(service, "$") && got.Service.Service != service {
			t.Fatalf("%q became %q", service, got.Service.Service)
		}
	})
}

func BenchmarkExecuteQuery(b *testing.B) {
	q := newQueries(b)
	create(b, q, skerry.PreparedQuery{Name: "web", Service: skerry.ServiceQuery{Service: "web"}})
	create(b, q, skerry.PreparedQuery{Name: "t-", Template: skerry.QueryTemplate{Type: skerry.TemplatePrefix}, Service: skerry.ServiceQuery{Service: "${name.suffix}"}})
	for _, name := range []string{"web", "t-web"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if r, err := q.ExecuteQuery(name, skerry.QueryAsk{}); err != nil || len(r.Entries) != 2 {
					b.Fatal(r, err)
				}
			}
		})
	}
}
