package dns

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"net/netip"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/miekg/dns"

	"github.com/skerryhq/skerry"
)

// addresses are the addresses of a node or an instance: one of each family, or a host
// name if its address is no IP.
type addresses struct {
	v4, v6 netip.Addr
	main   netip.Addr // the family of the untagged address
	host   string     // fully qualified, set only without IPs
}

func parseAddresses(main, tagged4, tagged6 string) (a addresses) {
	put := func(s string) (netip.Addr, bool) {
		ip, err := netip.ParseAddr(s)
		if err != nil {
			return ip, false
		}
		ip = ip.Unmap().WithZone("")
		switch {
		case ip.Is4() && !a.v4.IsValid():
			a.v4 = ip
		case ip.Is6() && !a.v6.IsValid():
			a.v6 = ip
		}
		return ip, true
	}
	ip, ok := put(main)
	a.main = ip
	put(tagged4)
	put(tagged6)
	if ok || main == "" {
		return a
	}
	if a.v4.IsValid() || a.v6.IsValid() {
		a.main = a.v4
		if !a.v4.IsValid() {
			a.main = a.v6
		}
		return a
	}
	if skerry.AddressTrouble(main) == nil {
		a.host = dns.Fqdn(main)
	}
	return a
}

func nodeAddresses(n *skerry.Node) addresses {
	return parseAddresses(n.Address, n.TaggedAddresses["lan_ipv4"], n.TaggedAddresses["lan_ipv6"])
}

// entryAddresses returns the instance's own addresses, else the node's.
func entryAddresses(e *skerry.Entry) addresses {
	if e.Instance.Address == "" {
		return nodeAddresses(e.Node)
	}
	t := e.Instance.Tagged()
	return parseAddresses(e.Instance.Address, t["lan_ipv4"].Address, t["lan_ipv6"].Address)
}

// appendRecord packs a record without its owner.
func appendRecord(b []byte, typ uint16, ttl uint32, data []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, typ)
	b = binary.BigEndian.AppendUint16(b, dns.ClassINET)
	b = binary.BigEndian.AppendUint32(b, ttl)
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	return append(b, data...)
}

// answerRecord packs a record whose owner is the question's name.
func answerRecord(typ uint16, ttl uint32, data []byte) []byte {
	return appendRecord([]byte{0xC0, 12}, typ, ttl, data)
}

func addressType(ip netip.Addr) uint16 {
	if ip.Is4() {
		return dns.TypeA
	}
	return dns.TypeAAAA
}

// pipeline returns the read path of a DNS query. An empty tag means any.
func (st *state) pipeline(tag string) skerry.Pipeline {
	health := skerry.NotCritical()
	if st.OnlyPassing {
		health = skerry.Passes()
	}
	p := skerry.Pipeline{skerry.NotInMaintenance(), health}
	if tag != "" {
		p = append(p, skerry.HasTags([]string{tag}))
	}
	return p
}

// render prepares the answer of one kind for a service or one of its tags.
func (st *state) render(v *skerry.View, z *zone, k kind, tag string) []byte {
	return st.renderEntries(st.pipeline(tag).Select(v.Entries), z, k, st.serviceTTL(v.Service))
}

// renderEntries prepares the answer of one kind for these instances.
func (st *state) renderEntries(entries []*skerry.Entry, z *zone, k kind, ttl uint32) []byte {
	w := &setWriter{records: map[string]int{}, targets: map[string]int{}}
	if k == kindSRV {
		for _, e := range entries {
			st.renderSRV(w, z, e, ttl)
		}
		return w.bytes(len(entries))
	}
	anyIP := false
	for _, e := range entries {
		a := entryAddresses(e)
		for _, ip := range [...]netip.Addr{a.v4, a.v6} {
			if !ip.IsValid() {
				continue
			}
			anyIP = true
			if k == kindAny || k == kindA && ip.Is4() || k == kindAAAA && ip.Is6() {
				data := ip.AsSlice()
				w.add(pendingUnit{hash: xxhash.Sum64(data), answer: answerRecord(addressType(ip), ttl, data)})
			}
		}
	}
	if !anyIP {
		renderHosts(w, entries, ttl)
	}
	return w.bytes(len(entries))
}

// renderHosts answers with CNAMEs. A name with a CNAME may have no other record, so
// this is done only if no instance has an IP address.
func renderHosts(w *setWriter, entries []*skerry.Entry, ttl uint32) {
	for _, e := range entries {
		if host := entryAddresses(e).host; host != "" {
			data := wireName(host)
			w.hosts = true
			w.add(pendingUnit{hash: xxhash.Sum64(data), answer: answerRecord(dns.TypeCNAME, ttl, data)})
		}
	}
}

func (st *state) renderSRV(w *setWriter, z *zone, e *skerry.Entry, ttl uint32) {
	port := e.Instance.Port
	if port < 0 || port > math.MaxUint16 {
		return // no port is better than a wrong one
	}
	a := entryAddresses(e)
	var target string
	u := pendingUnit{hash: xxhash.Sum64String(e.Node.Name + "\x00" + e.Instance.ID)}
	ips := []netip.Addr{a.v4, a.v6}
	byNode := e.Instance.Address == "" && a.host == ""
	if byNode {
		target = st.nodeTarget(e.Node, z)
	}
	switch {
	case a.host != "":
		target, w.hosts = a.host, true
	case target != "" && a.main.IsValid(): // a name without an address leads nowhere
		if st.AdditionalNodeMetaTXT {
			u.texts = appendMeta(nil, e.Node.Meta, ttl)
		}
	case a.main.IsValid():
		target = st.addrTarget(a.main, e.Node, z)
		ips = []netip.Addr{a.main}
	default:
		return
	}
	name := wireName(target)
	if name == nil {
		return
	}
	data := binary.BigEndian.AppendUint16(make([]byte, 0, 6+len(name)), 1) // the priority
	data = binary.BigEndian.AppendUint16(data, weight(e))
	data = binary.BigEndian.AppendUint16(data, uint16(port))
	u.answer = answerRecord(dns.TypeSRV, ttl, append(data, name...))
	for _, ip := range ips {
		if ip.IsValid() {
			u.addresses = appendRecord(u.addresses, addressType(ip), ttl, ip.AsSlice())
		}
	}
	w.add(u)
}

// weight returns the instance's share of traffic for its present health.
func weight(e *skerry.Entry) uint16 {
	n := e.Instance.Weights.Warning
	if e.Health == skerry.Passing {
		n = e.Instance.Weights.Passing
	}
	return uint16(min(max(n, 0), math.MaxUint16))
}

// datacenterOf returns the label of n's datacenter.
func (st *state) datacenterOf(n *skerry.Node) string {
	if n.Datacenter != "" {
		return n.Datacenter
	}
	return st.self.Datacenter
}

// nodeTarget returns the node's name in the zone, or "" if it is not valid in DNS: a
// label may be too long or contain characters that cannot be asked for.
func (st *state) nodeTarget(n *skerry.Node, z *zone) string {
	if !askable(n.Name) {
		return ""
	}
	target := n.Name + ".node." + st.datacenterOf(n) + z.suffix
	if wireName(target) == nil {
		return ""
	}
	return target
}

// askable reports whether a name can be written as labels without escapes.
func askable(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.') {
			return false
		}
	}
	return s != "" && s[0] != '.' && s[len(s)-1] != '.' && !strings.Contains(s, "..")
}

// addrTarget returns the name <hex>.addr of an address in the datacenter of n.
func (st *state) addrTarget(ip netip.Addr, n *skerry.Node, z *zone) string {
	return hex.EncodeToString(ip.AsSlice()) + ".addr." + st.datacenterOf(n) + z.suffix
}
