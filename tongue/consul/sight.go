package consul

import (
	"encoding/binary"
	"hash/maphash"
	"slices"
	"strings"
	"sync"

	"github.com/skerryhq/skerry"
)

// Where what may not be seen is hidden (skerry.Gate.Hides), a blocking query of
// an asker that does not see all that it waits for is woken by what it sees, and told
// an index of that alone. Everybody else waits for the topic itself, at no cost.

// scene is what a blocking query waits for, as one asker sees it.
type scene struct {
	name  string        // among all scenes
	at    func() uint64 // its own index
	watch func() (index uint64, changed <-chan struct{})
	look  func(who skerry.Identity, s *sight)
}

// sight is a digest of what an asker sees of a scene.
type sight struct {
	hash   maphash.Hash
	newest uint64 // index of the latest change of what is seen
	any    bool
}

// sightSeed is one for the process: digests are compared.
var sightSeed = maphash.MakeSeed()

// add notes one thing that is seen: its names, and its state.
func (s *sight) add(modified uint64, names ...string) {
	s.any = true
	s.newest = max(s.newest, modified)
	var n [8]byte
	for _, name := range names {
		binary.LittleEndian.PutUint64(n[:], uint64(len(name)))
		s.hash.Write(n[:])
		s.hash.WriteString(name)
	}
	binary.LittleEndian.PutUint64(n[:], modified)
	s.hash.Write(n[:])
}

// sights remembers what was last seen of each scene under the same rules, so that
// what is removed counts as a change for the askers that saw it.
type sights struct {
	mu   sync.Mutex
	kept map[sightKey]*seenScene
}

type sightKey struct{ rules, scene string }

type seenScene struct {
	at     uint64 // the scene's own index when it was looked at last
	index  uint64 // what is told to askers that see this much
	digest uint64
}

// maxSights bounds what is remembered. Nothing is kept of scenes of which nothing is
// seen. When it is full all is forgotten: then each waiter is answered once too often.
const maxSights = 10_000

// blank is the index of a scene of which nothing is seen, or ever was.
const blank = 1

// index returns the index of a scene for an asker. known is false when no asker with
// the same rules looked at it before: then a removal may have been missed.
func (s *sights) index(who skerry.Identity, sc *scene, at uint64) (index uint64, known bool) {
	key := sightKey{rulesOf(who), sc.name}
	s.mu.Lock()
	if e := s.kept[key]; e != nil && e.at == at {
		defer s.mu.Unlock()
		return e.index, true
	}
	s.mu.Unlock()
	var now sight
	now.hash.SetSeed(sightSeed)
	sc.look(who, &now)
	digest := now.hash.Sum64()
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.kept[key]
	switch {
	case e == nil && !now.any:
		return blank, true
	case e == nil:
		if s.kept == nil || len(s.kept) >= maxSights {
			s.kept = map[sightKey]*seenScene{}
		}
		key.scene = strings.Clone(key.scene)
		e = &seenScene{at: at, index: max(now.newest, blank+1), digest: digest}
		s.kept[key] = e
		return e.index, false
	case e.digest != digest:
		if now.newest > e.index {
			e.index = now.newest
		} else {
			e.index = max(at, e.index+1) // something was removed
		}
		e.digest = digest
	}
	e.at = at
	return e.index, true
}

// saw reports whether an asker sees something of a scene, or did.
func (s *sights) saw(who skerry.Identity, name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept[sightKey{rulesOf(who), name}] != nil
}

// rulesOf names what an identity may do; one that cannot say shares with no other.
func rulesOf(who skerry.Identity) string {
	if r, ok := who.(skerry.Ruled); ok {
		return r.RulesKey()
	}
	return "accessor " + who.Accessor()
}

// hides reports whether what the asker may not see looks as if it were not there.
func (q *request) hides() bool { return q.who != nil && q.t.hides }

// indexOf is the scene's present index for the asker.
func (q *request) indexOf(sc *scene) uint64 {
	index, _ := q.t.seen.index(q.who, sc, sc.at())
	return index
}

// blockOn is block for an asker that does not see all of what is waited for. An index that
// is not the scene's is another server's, or of other rules: it is answered at once.
func (q *request) blockOn(sc *scene) error {
	have := q.p.index
	if have == 0 {
		return nil
	}
	gate, token, seen := q.t.b.Gate, q.p.token, &q.t.seen // a parked request outlives q
	return q.await(func() (bool, <-chan struct{}) {
		at, changed := sc.watch()
		who, err := gate.Identify(token)
		if err != nil {
			return true, changed // it is refused when it is answered
		}
		index, known := seen.index(who, sc, at)
		return !known || index != have, changed
	}, q.unwatch())
}

// narrowed returns the topic as a scene if the asker does not see all of it, else nil.
func (q *request) narrowed(topic skerry.Topic) *scene {
	catalog := q.t.b.Catalog
	if !q.hides() || seesWhole(catalog, q.who, topic) {
		return nil
	}
	return &scene{
		name: topicScene(topic),
		at: func() uint64 {
			index, _ := catalog.Watch(topic)
			return index
		},
		watch: func() (uint64, <-chan struct{}) { return catalog.Watch(topic) },
		look:  func(who skerry.Identity, s *sight) { lookAt(catalog, topic, who, s) },
	}
}

func topicScene(topic skerry.Topic) string {
	return string(rune('a'+topic.Kind)) + "/" + skerry.Fold(topic.Name)
}

// seesWhole reports whether an identity may see all that is under the topic, and all
// that will be: but for a service in a spelling that it may not see and that nothing has yet.
func seesWhole(catalog skerry.Catalog, who skerry.Identity, topic skerry.Topic) bool {
	services := func() bool { return who.AllowsBelow(skerry.ResourceService, "", skerry.AccessRead) }
	nodes := func() bool { return who.AllowsBelow(skerry.ResourceNode, "", skerry.AccessRead) }
	switch topic.Kind {
	case skerry.TopicService:
		service := func(name string) bool { return who.Allows(skerry.ResourceService, name, skerry.AccessRead) }
		return service(topic.Name) && nodes() &&
			!slices.ContainsFunc(catalog.Service(topic.Name).Names, func(name string) bool { return !service(name) })
	case skerry.TopicNode:
		return who.Allows(skerry.ResourceNode, topic.Name, skerry.AccessRead) && services()
	case skerry.TopicNodes:
		return nodes()
	}
	return services() && nodes()
}

// eyes are an identity's sight of the catalog.
type eyes struct{ who skerry.Identity }

func (e eyes) node(name string) bool {
	return e.who.Allows(skerry.ResourceNode, name, skerry.AccessRead)
}

func (e eyes) service(name string) bool {
	return name == "" || e.who.Allows(skerry.ResourceService, name, skerry.AccessRead)
}

func (e eyes) entry(x *skerry.Entry) bool {
	return e.service(x.Instance.Service) && e.node(x.Node.Name)
}

// lookAt adds what an identity sees under a topic: what makes the topic change, and no more.
func lookAt(catalog skerry.Catalog, topic skerry.Topic, who skerry.Identity, s *sight) {
	e := eyes{who}
	switch topic.Kind {
	case skerry.TopicService:
		for _, x := range catalog.Service(topic.Name).Entries {
			if e.entry(x) {
				s.entry(x)
			}
		}
	case skerry.TopicNode:
		if v := catalog.Node(topic.Name); v != nil {
			s.node(v, e)
		}
	case skerry.TopicNodes:
		for _, v := range catalog.Nodes() {
			if e.node(v.Node.Name) {
				s.add(v.Node.Modified, v.Node.Name)
			}
		}
	case skerry.TopicServices:
		for _, name := range catalog.Services() {
			if !e.service(name) {
				continue
			}
			s.service(name, catalog.Service(name).Spelled(name), e)
		}
	case skerry.TopicChecks:
		for _, v := range catalog.Nodes() {
			s.checks(v, e)
		}
	default:
		for _, v := range catalog.Nodes() {
			s.node(v, e)
		}
	}
}

// service adds a service's name and its tags in use, once it has an instance that is
// seen: other changes of instances are none of the list of names.
func (s *sight) service(name string, entries []*skerry.Entry, e eyes) {
	var tags []string
	seen := false
	for _, x := range entries {
		if e.node(x.Node.Name) {
			seen = true
			s.newest = max(s.newest, x.Instance.Created)
			tags = append(tags, x.Instance.Tags...)
		}
	}
	if seen {
		slices.Sort(tags)
		s.add(0, append([]string{name}, slices.Compact(tags)...)...)
	}
}

func (s *sight) entry(x *skerry.Entry) {
	guarded := ""
	if x.Guarded {
		guarded = "guarded"
	}
	s.add(x.Node.Modified, "node", x.Node.Name, guarded)
	s.add(x.Instance.Modified, "service", x.Instance.ID)
	for _, c := range x.Checks {
		s.add(c.Modified, "check", c.ID)
	}
}

// node adds what is seen of a node and all that is on it.
func (s *sight) node(v *skerry.NodeView, e eyes) {
	if !e.node(v.Node.Name) {
		return
	}
	s.add(v.Node.Modified, "node", v.Node.Name)
	for _, i := range v.Instances {
		if e.service(i.Service) {
			s.add(i.Modified, "service", i.ID)
		}
	}
	s.checks(v, e)
}

// checks adds what is seen of the checks of a node.
func (s *sight) checks(v *skerry.NodeView, e eyes) {
	if !e.node(v.Node.Name) {
		return
	}
	for _, c := range v.Checks {
		if e.service(c.ServiceName) {
			s.add(c.Modified, "check", v.Node.Name, c.ID)
		}
	}
}

// view is a service as the asker sees it: the catalog's own view where that is all.
func (q *request) view(name string) *skerry.View {
	sc := q.narrowed(skerry.Topic{Kind: skerry.TopicService, Name: name})
	if sc == nil {
		return q.t.b.Catalog.Service(name)
	}
	// The index is read first, so the entries are at least as new.
	index := q.indexOf(sc)
	v := q.t.b.Catalog.Service(name)
	left := v.Part(eyes{q.who}.entry)
	left.Index = index
	switch {
	case left.Guarded > 0:
		left.Cause = skerry.CauseGuarded
	case len(left.Entries) == len(v.Entries) && q.t.seen.saw(q.who, sc.name): // the cause is that of the view
	case len(left.Entries) == 0:
		left.Cause = q.t.b.Catalog.Service(noService).Cause
	default:
		left.Cause = skerry.CauseNone
	}
	return left
}

// noService is a name that no service has.
const noService = "\x00"

// keysBelow is the index of the keys below a prefix as an asker sees them; at is the
// index of all of them. Removed keys are remembered by the store, so that this needs
// no sights; what was worked out is kept all the same.
func (s *sights) keysBelow(keys Keys, who skerry.Identity, prefix string, at uint64) uint64 {
	key := sightKey{rulesOf(who), prefix}
	var since, was uint64
	s.mu.Lock()
	if e := s.kept[key]; e != nil {
		since, was = e.at, e.index
	}
	s.mu.Unlock()
	if since == at {
		return was
	}
	index := keys.Newest(prefix, since, was, func(k string) bool { return who.Allows(skerry.ResourceKey, k, skerry.AccessRead) })
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept == nil || len(s.kept) >= maxSights {
		s.kept = map[sightKey]*seenScene{}
	}
	key.scene = strings.Clone(prefix)
	s.kept[key] = &seenScene{at: at, index: index}
	return index
}

// narrowedKeys reports whether the asker does not see all keys below a prefix, and is
// not to know of the others.
func (q *request) narrowedKeys(prefix string) bool {
	return q.hides() && !q.who.AllowsBelow(skerry.ResourceKey, prefix, skerry.AccessRead)
}
