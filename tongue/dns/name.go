package dns

import (
	"encoding/hex"
	"net/netip"
	"strings"
)

// form is the kind of a name, given by the label before the datacenter.
type form uint8

const (
	noForm form = iota
	serviceForm
	nodeForm
	addrForm
	queryForm
	virtualForm
)

func formOf(label string) form {
	switch label {
	case "service":
		return serviceForm
	case "node":
		return nodeForm
	case "addr":
		return addrForm
	case "query":
		return queryForm
	case "virtual":
		return virtualForm
	}
	return noForm
}

// name is a question's parsed name, in lower case.
type name struct {
	form form
	name string // of the service, node or query; the digits of an address
	tag  string // of a service; empty: any
	dc   string // empty: this one
}

// parseName parses the part of a name before the zone: lower-cased labels in
// presentation form, without the last dot. A name without a meaning has noForm.
func parseName(rest string) name {
	var buf [8]string
	labels := splitLabels(buf[:0], rest)
	n := len(labels)
	for at := n - 1; at >= max(0, n-3); at-- {
		f := formOf(labels[at])
		if f == noForm || at == n-3 && labels[n-1] != "dc" {
			continue
		}
		out := name{form: f}
		if at < n-1 {
			out.dc = labels[at+1]
		}
		return out.of(labels[:at])
	}
	// RFC 2782 allows to leave "service" out: _web._tcp[.dc[.dc]].
	if n < 2 || n > 4 || labels[1] == "" || labels[1][0] != '_' || n == 4 && labels[3] != "dc" {
		return name{}
	}
	out := name{form: serviceForm}
	if n > 2 {
		out.dc = labels[2]
	}
	return out.of(labels[:2])
}

// of fills in the fields from the labels before the form.
func (n name) of(labels []string) name {
	if len(labels) == 0 {
		return name{}
	}
	if n.form == nodeForm {
		n.name = strings.Join(labels, ".") // a node's name may be a host's full name
		return n
	}
	if n.form == queryForm && !(len(labels) == 2 && strings.HasPrefix(labels[0], "_") && strings.HasPrefix(labels[1], "_")) {
		n.name = strings.Join(labels, ".") // so may a query's
		return n
	}
	if len(labels) == 1 {
		n.name = labels[0]
		return n
	}
	if n.form != serviceForm && n.form != queryForm {
		return name{}
	}
	// A tag may contain dots, a service's name may not.
	last := len(labels) - 1
	n.tag, n.name = strings.Join(labels[:last], "."), labels[last]
	if last > 1 {
		return n
	}
	// _service._tag: RFC 2782's protocol is a tag to Consul; "_tcp" means any.
	if svc, ok := strings.CutPrefix(labels[0], "_"); ok && svc != "" {
		if tag, ok := strings.CutPrefix(labels[1], "_"); ok {
			n.name, n.tag = svc, tag
			if tag == "tcp" {
				n.tag = ""
			} else if tag == "" {
				return name{}
			}
		}
	}
	return n
}

// splitLabels splits at unescaped dots and undoes the escapes \c and \ddd.
func splitLabels(out []string, s string) []string {
	if s == "" {
		return out
	}
	if strings.IndexByte(s, '\\') < 0 {
		for {
			label, rest, more := strings.Cut(s, ".")
			out = append(out, label)
			if !more {
				return out
			}
			s = rest
		}
	}
	var label []byte
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '.':
			out = append(out, string(label))
			label = label[:0]
		case s[i] != '\\' || i+1 == len(s):
			label = append(label, s[i])
		case i+3 < len(s) && digits(s[i+1:i+4]):
			label = append(label, (s[i+1]-'0')*100+(s[i+2]-'0')*10+(s[i+3]-'0'))
			i += 3
		default:
			i++
			label = append(label, s[i])
		}
	}
	return append(out, string(label))
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// cut cuts the zone's name off a lower-cased question name.
func (z *zone) cut(qname string) (rest string, ok bool) {
	if qname == z.name {
		return "", true
	}
	rest, ok = strings.CutSuffix(qname, z.suffix)
	if !ok {
		return "", false
	}
	// An odd number of backslashes before the dot makes it part of a label.
	escapes := len(rest) - len(strings.TrimRight(rest, `\`))
	return rest, escapes%2 == 0
}

// zoneOf finds the zone that a lower-cased question name lies in.
func (st *state) zoneOf(qname string) (z *zone, rest string) {
	for i := range st.zones {
		if rest, ok := st.zones[i].cut(qname); ok {
			return &st.zones[i], rest
		}
	}
	return nil, ""
}

// parseHex reads the digits of <hex>.addr: 8 for IPv4, 32 for IPv6.
func parseHex(s string) (netip.Addr, bool) {
	if len(s) != 8 && len(s) != 32 {
		return netip.Addr{}, false
	}
	b, err := hex.DecodeString(s)
	if err != nil {
		return netip.Addr{}, false
	}
	return netip.AddrFromSlice(b)
}

const (
	arpa4 = ".in-addr.arpa."
	arpa6 = ".ip6.arpa."
)

// reverseName reports whether a lower-cased name lies below in-addr.arpa or
// ip6.arpa, and the address that it stands for, if it is a whole one.
func reverseName(qname string) (ip netip.Addr, isReverse bool) {
	if rest, ok := strings.CutSuffix(qname, arpa4); ok {
		parts := strings.Split(rest, ".")
		if len(parts) != 4 {
			return netip.Addr{}, true
		}
		ip, _ := netip.ParseAddr(parts[3] + "." + parts[2] + "." + parts[1] + "." + parts[0])
		return ip, true
	}
	rest, ok := strings.CutSuffix(qname, arpa6)
	if !ok {
		return netip.Addr{}, false
	}
	if len(rest) != 63 {
		return netip.Addr{}, true
	}
	var nibbles [32]byte
	for i := range nibbles {
		if i > 0 && rest[2*i-1] != '.' {
			return netip.Addr{}, true
		}
		nibbles[31-i] = rest[2*i]
	}
	ip, _ = parseHex(string(nibbles[:]))
	return ip, true
}
