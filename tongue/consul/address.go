package consul

import (
	"net/netip"

	"github.com/skerryhq/skerry"
)

// taggedAddresses adds what Consul derives from a service's own address, where
// the registration did not say it.
func taggedAddresses(given map[string]jsonEndpoint, address string, port int) map[string]skerry.Endpoint {
	ip, err := netip.ParseAddr(address)
	if err != nil && len(given) == 0 {
		return nil
	}
	out := make(map[string]skerry.Endpoint, len(given)+2)
	for k, v := range given {
		out[k] = skerry.Endpoint(v)
	}
	if err == nil {
		suffix := "_ipv6"
		if ip.Is4() {
			suffix = "_ipv4"
		}
		for _, scope := range []string{"lan", "wan"} {
			if _, said := out[scope+suffix]; !said {
				out[scope+suffix] = skerry.Endpoint{Address: address, Port: port}
			}
		}
	}
	return out
}
