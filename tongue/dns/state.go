package dns

import (
	"fmt"
	"slices"
	"sort"

	"github.com/cespare/xxhash/v2"
	"github.com/miekg/dns"

	"github.com/skerryhq/skerry"
)

// zone is one name of the zone that is answered.
type zone struct {
	name   string // canonical: lower case, with the last dot
	suffix string // "." + name
	wire   []byte
	keys   [kinds]string // of the memos of a service's answers, by kind
}

// state is a configuration ready for use. It never changes; Reload replaces it.
type state struct {
	Config
	self      skerry.Self
	zones     []zone // the longest name first, so that one zone may lie in the other
	primary   *zone  // PTR answers use it
	tagsKey   string
	recursors []string // host:port
}

func newState(self skerry.Self, c Config) *state {
	st := &state{Config: c.withDefaults(), self: self}
	names := []string{st.Domain}
	if st.AltDomain != "" && st.AltDomain != st.Domain {
		names = append(names, st.AltDomain)
	}
	for _, n := range names {
		z := zone{name: n, suffix: "." + n, wire: wireName(n)}
		if n == "." {
			z.suffix = "."
		}
		for k := range kinds {
			z.keys[k] = skerry.MemoKey("dns", st.fingerprint(n), k.String())
		}
		st.zones = append(st.zones, z)
	}
	sort.SliceStable(st.zones, func(i, j int) bool { return len(st.zones[i].name) > len(st.zones[j].name) })
	for i := range st.zones {
		if st.zones[i].name == st.Domain {
			st.primary = &st.zones[i]
		}
	}
	st.tagsKey = skerry.MemoKey("dns/tags")
	for _, r := range st.Recursors {
		if a, err := recursorAddress(r); err == nil {
			st.recursors = append(st.recursors, a)
		} else {
			st.Log.Warn("recursor left out", "recursor", r, "error", err)
		}
	}
	return st
}

// fingerprint encodes all settings that a prepared answer depends on, so that a reload
// finds the answers of an equal configuration and none of another.
func (st *state) fingerprint(zone string) string {
	ttls := make([]string, 0, len(st.ServiceTTL))
	for name, ttl := range st.ServiceTTL {
		ttls = append(ttls, fmt.Sprintf("%q=%d", name, ttl))
	}
	slices.Sort(ttls)
	return fmt.Sprintf("%016x", xxhash.Sum64String(fmt.Sprintf("%q %q %t %t %q", zone, st.self.Datacenter, st.OnlyPassing, st.AdditionalNodeMetaTXT, ttls)))
}

// wireName packs a name without compression; nil if it is none.
func wireName(name string) []byte {
	buf := make([]byte, 256)
	n, err := dns.PackDomainName(name, buf, 0, nil, false)
	if err != nil {
		return nil
	}
	return buf[:n:n]
}
