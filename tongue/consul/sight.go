package consul

import (
	"encoding/binary"
	"hash/maphash"
	"slices"
	"strings"
	"sync"

	"github.com/skerryhq/skerry"
)

// If the gate hides (skerry.Gate.Hides), a blocking query of a caller that does not see its
// whole topic is woken only by changes that the caller sees, and its index is that of the
// visible part. Other queries wait for the topic itself, at no cost.

// scene is the part of a topic that one caller sees.
type scene struct {
	name  string        // among all scenes
	at    func() uint64 // its own index
	watch func() (index uint64, changed <-chan struct{})
	look  func(who skerry.Identity, s *sight)
}

// sight is a digest of the visible part of a scene.
type sight struct {
	hash   maphash.Hash
	newest uint64 // index of the latest change in the visible part
	any    bool
}

// sightSeed is the same for the whole process, since digests are compared.
var sightSeed = maphash.MakeSeed()

// add adds one visible object to the digest: its names and its state.
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

// sights remembers the last sight of each scene for each set of rules, so that a removal
// counts as a change for the callers that saw the removed object.
type sights struct {
	mu   sync.Mutex
	kept map[sightKey]*seenScene
}

type sightKey struct{ rules, scene string }

type seenScene struct {
	at     uint64 // the scene's own index when it was last looked at
	index  uint64 // the index for callers with these rules
	digest uint64
}

// maxSights bounds the remembered sights. Scenes without a visible part are not kept.
// Beyond it all are forgotten, and each waiter is answered once without a change.
const maxSights = 10_000

// blank is the index of a scene that never had a visible part.
const blank = 1

// index returns the index of a scene for a caller. known is false if no caller with the
// same rules looked at it before: then a removal may have been missed.
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

// saw reports whether a scene has a visible part for a caller, or had one.
func (s *sights) saw(who skerry.Identity, name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept[sightKey{rulesOf(who), name}] != nil
}

// rulesOf returns the key of an identity's rules. An identity without a key shares with
// no other.
func rulesOf(who skerry.Identity) string {
	if r, ok := who.(skerry.Ruled); ok {
		return r.RulesKey()
	}
	return "accessor " + who.Accessor()
}

// hides reports whether objects that the caller may not see look absent.
func (q *request) hides() bool { return q.who != nil && q.f.hides }

// indexOf returns the scene's present index for the caller.
func (q *request) indexOf(sc *scene) uint64 {
	index, _ := q.f.seen.index(q.who, sc, sc.at())
	return index
}

// blockOn is block for a caller that does not see the whole topic. An index that is not the
// scene's is another server's, or of other rules: the query is answered at once.
func (q *request) blockOn(sc *scene) error {
	have := q.p.index
	if have == 0 {
		return nil
	}
	gate, token, seen := q.f.b.Gate, q.p.token, &q.f.seen // a parked request outlives q
	return q.await(func() (bool, <-chan struct{}) {
		at, changed := sc.watch()
		who, err := gate.Identify(token)
		if err != nil {
			return true, changed // the answer is a refusal
		}
		index, known := seen.index(who, sc, at)
		return !known || index != have, changed
	}, q.unwatch())
}

// narrowed returns the topic as a scene if the caller does not see all of it, else nil.
func (q *request) narrowed(topic skerry.Topic) *scene {
	catalog := q.f.b.Catalog
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

// seesWhole reports whether an identity may see everything under the topic, present or
// future. The exception is a future spelling of a service that it may not see.
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

// eyes are an identity's permissions to see records of the catalog.
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

// lookAt adds the records under a topic that an identity sees. It adds only records that
// change the topic.
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

// service adds a service's name and its tags in use, if the caller sees an instance. Other
// changes of instances do not change the list of names.
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

// node adds the visible records of a node and its instances and checks.
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

// checks adds the visible checks of a node.
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

// view returns a service as the caller sees it: the catalog's own view if it sees all.
func (q *request) view(name string) (*skerry.View, error) {
	sc := q.narrowed(skerry.Topic{Kind: skerry.TopicService, Name: name})
	if sc == nil {
		return q.discover(name)
	}
	// The index is read first, so the entries are at least as new.
	index := q.indexOf(sc)
	v, err := q.discover(name)
	if err != nil {
		return nil, err
	}
	left := v.Part(eyes{q.who}.entry)
	left.Index = index
	switch {
	case left.Guarded > 0:
		left.Cause = skerry.CauseGuarded
	case len(left.Entries) == len(v.Entries) && q.f.seen.saw(q.who, sc.name): // the cause is the view's
	case len(left.Entries) == 0:
		left.Cause = q.f.b.Catalog.Service(noService).Cause
	default:
		left.Cause = skerry.CauseNone
	}
	return left, nil
}

// shownView returns a service as the caller sees it, and whole. shown is not newer than
// whole.
func (q *request) shownView(name string) (shown, whole *skerry.View, err error) {
	if q.hides() {
		if shown, err = q.view(name); err != nil {
			return nil, nil, err
		}
	}
	if whole, err = q.discover(name); err != nil {
		return nil, nil, err
	}
	if shown == nil {
		shown = whole
	}
	return shown, whole, nil
}

// noService is a name that no service has.
const noService = "\x00"

// keysBelow returns the index of the keys below a prefix that a caller sees; at is the
// index of all of them. The store remembers removed keys, so digests are not needed; the
// results are kept nevertheless.
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

// narrowedKeys reports whether the caller does not see all keys below a prefix, and the
// others are hidden.
func (q *request) narrowedKeys(prefix string) bool {
	return q.hides() && !q.who.AllowsBelow(skerry.ResourceKey, prefix, skerry.AccessRead)
}
