package consul

import (
	"net/http"
	"slices"
	"strings"

	"github.com/skerryhq/skerry"
)

// Access control: a request has an identity (none if access is not controlled).
// Endpoints check its permissions, and lists leave out elements that it may not read.

// identify resolves the token to the caller's identity. The token is that of the
// query, else that of Consul's header, else a bearer's; a parked request has kept it.
func (q *request) identify() error {
	gate := q.f.b.Gate
	if gate == nil {
		return nil
	}
	q.takeToken()
	if q.route.open {
		return nil
	}
	if q.p.token == "" && q.passedOn() != nil {
		q.p.token = skerry.AnonymousSecret // the default token is for callers of this agent
	}
	if q.replays {
		return nil
	}
	who, err := gate.Identify(q.p.token)
	if err != nil {
		return err
	}
	q.who = who
	return q.needed()
}

// takeToken takes the caller's token from the headers, unless the query has it.
func (q *request) takeToken() {
	if q.p.token != "" {
		return
	}
	if h := q.r.Header["X-Consul-Token"]; len(h) > 0 {
		q.p.token = h[0]
	} else if h := q.r.Header["Authorization"]; len(h) > 0 {
		if scheme, bearer, ok := strings.Cut(h[0], " "); ok && strings.EqualFold(scheme, "Bearer") {
			q.p.token = strings.TrimSpace(bearer)
		}
	}
}

// needed checks the permission for the endpoint as a whole.
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

// may reports whether the caller has this access.
func (q *request) may(r skerry.Resource, name string, a skerry.Access) bool {
	return q.who == nil || q.who.Allows(r, name, a)
}

// must returns an error unless the caller has this access.
func (q *request) must(r skerry.Resource, name string, a skerry.Access) error {
	if q.may(r, name, a) {
		return nil
	}
	return skerry.DeniedTo(q.who, r, name, a)
}

// unseen reports whether an object is hidden from the caller: it is treated as if it did
// not exist.
func (q *request) unseen(r skerry.Resource, name string) bool {
	return q.hides() && !q.who.Allows(r, name, skerry.AccessRead)
}

// mustStill is must for an existing object that the request did not name. The refusal does
// not name a hidden one.
func (q *request) mustStill(r skerry.Resource, name string, a skerry.Access) error {
	err := q.must(r, name, a)
	if err != nil && q.unseen(r, name) {
		return skerry.Errorf(skerry.Denied, "Permission denied")
	}
	return err
}

// mustBelow is must for all names below a prefix.
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

// seesCheck reports whether the caller may read the check, and its service if it has one.
func (q *request) seesCheck(node string, c *skerry.Check) bool {
	return q.seesNode(node) && q.seesService(c.ServiceName)
}

// visible returns the elements that the caller may see, and calls leftOut if there are
// others.
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

// leftOut sets the header for an incomplete answer, if the request has a token. For
// requests without a token, and if the gate hides, the left-out objects do not exist.
func (q *request) leftOut() {
	if q.who != nil && !q.f.hides && !q.who.Anonymous() {
		q.w.Header()["X-Consul-Results-Filtered-By-Acls"] = isTrue
	}
}

// noted are the one-byte memos of whether the caller may see all of a view.
var (
	allSeen  = []byte{1}
	someSeen = []byte{0}
)

// scope returns the key of the rules that an answer of this view depends on: none if the
// caller sees all of it. ok is false if the answer cannot be shared.
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

// allowed returns the stage that drops entries that the caller may not see.
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

// entries returns the entries of a view that the caller may see.
func (q *request) entries(v *skerry.View) []*skerry.Entry {
	if q.who == nil {
		return v.Entries
	}
	return visible(q, v.Entries, q.allowed().Keep)
}

// hiddenSession reports whether a session exists and is hidden from the caller.
func (q *request) hiddenSession(id string) bool {
	if !q.hides() || id == "" {
		return false
	}
	s, err := q.f.b.Sessions.Session(id)
	return err == nil && s != nil && q.unseen(skerry.ResourceSession, s.Node)
}

// readsKey reports whether the caller may read a key.
func (q *request) readsKey(key string) bool {
	return q.may(skerry.ResourceKey, key, skerry.AccessRead)
}
