package consul

import (
	"net/http"
	"slices"
	"strings"

	"github.com/skerryhq/skerry"
)

// Access control: a request has an identity (none where access is not
// controlled), endpoints ask it, and lists leave out what it may not read.

// identify finds out who asks. The token is that of the query, else that of
// Consul's header, else a bearer's; a parked request has kept it.
func (q *request) identify() error {
	gate := q.t.b.Gate
	if gate == nil || !gate.Enabled() {
		return nil
	}
	if q.p.token == "" {
		if h := q.r.Header["X-Consul-Token"]; len(h) > 0 {
			q.p.token = h[0]
		} else if h := q.r.Header["Authorization"]; len(h) > 0 {
			if scheme, bearer, ok := strings.Cut(h[0], " "); ok && strings.EqualFold(scheme, "Bearer") {
				q.p.token = strings.TrimSpace(bearer)
			}
		}
	}
	if q.route.open {
		return nil
	}
	who, err := gate.Identify(q.p.token)
	if err != nil {
		return err
	}
	q.who = who
	return q.needed()
}

// need is a permission that an endpoint asks for before anything else.
type need struct {
	resource skerry.Resource // "": none
	get      skerry.Access
	other    skerry.Access         // of methods that are not GET
	name     func(*request) string // nil: the resource has no names
}

func ownNode(q *request) string { return q.t.cfg.NodeName }

var (
	agentReads    = need{skerry.ResourceAgent, skerry.AccessRead, skerry.AccessRead, ownNode}
	agentWrites   = need{skerry.ResourceAgent, skerry.AccessWrite, skerry.AccessWrite, ownNode}
	peeringReads  = need{skerry.ResourcePeering, skerry.AccessRead, skerry.AccessWrite, nil}
	operatorReads = need{skerry.ResourceOperator, skerry.AccessRead, skerry.AccessWrite, nil}
	aclReads      = need{skerry.ResourceACL, skerry.AccessRead, skerry.AccessWrite, nil}
)

// needed asks for what opens the endpoint.
func (q *request) needed() error {
	n := q.route.need
	if n.resource == "" {
		return nil
	}
	a, name := n.get, ""
	if q.r.Method != http.MethodGet {
		a = n.other
	}
	if n.name != nil {
		name = n.name(q)
	}
	return q.must(n.resource, name, a)
}

// Admits reports whether a request to something beside this front-end has a token
// with read access to the agent (resource "agent") or the operator's things; else
// it answers the request itself.
func (t *Tongue) Admits(w http.ResponseWriter, r *http.Request, of skerry.Resource) bool {
	q := request{t: t, w: w, r: r, route: &route{path: r.URL.Path}}
	name := ""
	if of == skerry.ResourceAgent {
		name = t.cfg.NodeName
	}
	err := q.p.read(r)
	if err == nil {
		err = q.identify()
	}
	if err == nil {
		err = q.must(of, name, skerry.AccessRead)
	}
	if err != nil {
		t.common(w.Header())
		q.fail(err)
	}
	return err == nil
}

// may reports whether the asker may do so.
func (q *request) may(r skerry.Resource, name string, a skerry.Access) bool {
	return q.who == nil || q.who.Allows(r, name, a)
}

// must is may as an error.
func (q *request) must(r skerry.Resource, name string, a skerry.Access) error {
	if q.may(r, name, a) {
		return nil
	}
	return skerry.DeniedTo(q.who, r, name, a)
}

// unseen reports whether the asker is not to know of a thing: it is answered for as if
// it were not there.
func (q *request) unseen(r skerry.Resource, name string) bool {
	return q.hides() && !q.who.Allows(r, name, skerry.AccessRead)
}

// mustStill is must for a thing that is there already and that the request did not
// name: one that the asker is not to know of is not named by the refusal.
func (q *request) mustStill(r skerry.Resource, name string, a skerry.Access) error {
	err := q.must(r, name, a)
	if err != nil && q.unseen(r, name) {
		return skerry.Errorf(skerry.Denied, "Permission denied")
	}
	return err
}

// mustBelow asks for everything below a prefix.
func (q *request) mustBelow(r skerry.Resource, prefix string, a skerry.Access) error {
	if q.who == nil || q.who.AllowsBelow(r, prefix, a) {
		return nil
	}
	return skerry.DeniedTo(q.who, r, prefix, a)
}

func (q *request) seesNode(name string) bool {
	return q.may(skerry.ResourceNode, name, skerry.AccessRead)
}

func (q *request) seesService(name string) bool {
	return name == "" || q.may(skerry.ResourceService, name, skerry.AccessRead)
}

// seesCheck: a service's check needs the service too.
func (q *request) seesCheck(node string, c *skerry.Check) bool {
	return q.seesNode(node) && q.seesService(c.ServiceName)
}

// visible keeps what may be seen, and tells the client when something was left out.
func visible[T any](q *request, list []T, sees func(T) bool) []T {
	if q.who == nil {
		return list
	}
	for i, v := range list {
		if sees(v) {
			continue
		}
		out := append(make([]T, 0, len(list)), list[:i]...)
		for _, v := range list[i+1:] {
			if sees(v) {
				out = append(out, v)
			}
		}
		q.leftOut()
		return out
	}
	return list
}

// leftOut says that the answer is not all there is, to who came with a token.
// Others are not told: for them the things do not exist. Where such things are
// hidden the client is not told.
func (q *request) leftOut() {
	if q.who != nil && !q.t.hides && !q.who.Anonymous() {
		q.w.Header()["X-Consul-Results-Filtered-By-Acls"] = isTrue
	}
}

// noted are one-byte answers to "may all of this view be seen?".
var (
	allSeen  = []byte{1}
	someSeen = []byte{0}
)

// scope returns the rules that an answer of this view depends on: none when the asker
// sees all of it. ok is false when the answer cannot be shared.
func (q *request) scope(v *skerry.View) (rules string, ok bool) {
	if q.who == nil {
		return "", true
	}
	r, is := q.who.(skerry.Ruled)
	if !is {
		return "", false
	}
	all := v.MemoChosen(skerry.MemoKey("consul/acl", r.RulesKey()), func() []byte {
		if slices.ContainsFunc(v.Names, func(name string) bool { return !q.seesService(name) }) {
			return someSeen
		}
		for _, e := range v.Entries {
			if !q.seesNode(e.Node.Name) {
				return someSeen
			}
		}
		return allSeen
	})
	if all[0] == allSeen[0] {
		return "", true
	}
	if len(v.Entries) > 0 {
		q.leftOut()
	}
	return r.RulesKey(), true
}

// allowed is the stage of the read path that leaves out what may not be seen.
func (q *request) allowed() skerry.Stage {
	return skerry.Stage{
		Name: "acl",
		Keep: func(e *skerry.Entry) bool { return q.seesService(e.Instance.Service) && q.seesNode(e.Node.Name) },
		Why: func(e *skerry.Entry) string {
			if !q.seesService(e.Instance.Service) {
				return q.who.Rule(skerry.ResourceService, e.Instance.Service)
			}
			return q.who.Rule(skerry.ResourceNode, e.Node.Name)
		},
	}
}

// entries returns those of a view that the asker may see.
func (q *request) entries(v *skerry.View) []*skerry.Entry {
	if q.who == nil {
		return v.Entries
	}
	return visible(q, v.Entries, q.allowed().Keep)
}
