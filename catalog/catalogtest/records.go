package catalogtest

import (
	"fmt"
	"strings"

	"github.com/skerryhq/skerry"
)

func node(name string) *skerry.Node {
	return &skerry.Node{Name: name, Address: "192.0.2.1", Meta: map[string]string{"rack": "1"}}
}

func inst(id, service string, tags ...string) *skerry.Instance {
	return &skerry.Instance{ID: id, Service: service, Tags: tags, Port: 80, Weights: skerry.Weights{Passing: 1, Warning: 1}}
}

func chk(id, serviceID string, status skerry.Health) *skerry.Check {
	return &skerry.Check{ID: id, Name: id, ServiceID: serviceID, Status: status}
}

// copySet copies the records: announced records belong to the catalog.
func copySet(s *skerry.Set) *skerry.Set {
	n := *s.Node
	return &skerry.Set{Node: &n, Instances: copies(s.Instances), Checks: copies(s.Checks)}
}

func copies[T any](from []*T) []*T {
	var to []*T
	for _, r := range from {
		c := *r
		to = append(to, &c)
	}
	return to
}

// list renders the entries of a view: node/id[check=status …].
func list(v *skerry.View) string {
	var lines []string
	for _, e := range v.Entries {
		line := e.Node.Name + "/" + e.Instance.ID
		for _, c := range e.Checks {
			line += fmt.Sprintf(" %s=%s", c.ID, c.Status)
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "; ")
}

func (w *world) shows(service, want string) {
	w.Helper()
	if got := list(w.c.Service(service)); got != want {
		w.Errorf("service %s is [%s], want [%s]", service, got, want)
	}
}

// selects checks why a query for a tag is empty, if it is.
func (w *world) selects(tag string, want skerry.Cause) {
	w.Helper()
	if got := w.c.Service("web").EmptyCause(skerry.Pipeline{skerry.HasTags([]string{tag}), skerry.Passes()}); got != want {
		w.Errorf("a query for the tag %s is empty for %q, want %q", tag, got, want)
	}
}

func (w *world) cause(service string, want skerry.Cause) {
	w.Helper()
	v := w.c.Service(service)
	if v == nil {
		w.Fatalf("the view of %s is nil", service)
	}
	if v.Cause != want {
		w.Errorf("the cause of %s is %q, want %q", service, v.Cause, want)
	}
}
