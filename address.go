package skerry

import (
	"fmt"
	"net/netip"
	"strings"
)

// AddressTrouble returns why DNS cannot answer with an address, or nil: it must be an IP
// address or a host name as in RFC 1123, in which underscores are let through. The error
// names the fix. Clients that read an address by HTTP may understand others.
func AddressTrouble(address string) error {
	if _, err := netip.ParseAddr(address); err == nil || address == "" || isHostName(address) {
		return nil
	}
	fix := "give an IP address or a host name"
	bare, bracket := strings.CutPrefix(address, "[")
	_, notPair := netip.ParseAddrPort(address)
	switch host, _, port := strings.Cut(address, ":"); {
	case strings.Contains(address, "://"):
		fix = "give the host alone, and the port as Port"
	case bracket && strings.HasSuffix(bare, "]"):
		fix = "write an IPv6 address without brackets"
	case notPair == nil, port && isHostName(host):
		fix = "give the port as Port"
	}
	return fmt.Errorf("address %.255q is neither an IP address nor a host name, so DNS leaves it out: %s", address, fix)
}

// isHostName reports whether s is made of labels of letters, digits, hyphens and
// underscores. The last label is no number: that would be a part of an IP address.
func isHostName(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if len(s) > 253 {
		return false
	}
	last := ""
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			c := lower(label[i])
			if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
				return false
			}
		}
		last = label
	}
	return strings.Trim(last, "0123456789") != ""
}

// DNSTrouble returns why DNS cannot answer with an instance, or nil: see [AddressTrouble].
// A tagged address, lan_ipv4 or lan_ipv6, stands in for one that DNS cannot use.
func (e *Entry) DNSTrouble() error {
	err := AddressTrouble(e.Address())
	if err == nil {
		return nil
	}
	for _, tag := range []string{"lan_ipv4", "lan_ipv6"} {
		tagged := e.Node.TaggedAddresses[tag]
		if e.Instance.Address != "" {
			tagged = e.Instance.Tagged()[tag].Address
		}
		if _, bad := netip.ParseAddr(tagged); bad == nil {
			return nil
		}
	}
	return err
}
