package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"

	sockaddr "github.com/hashicorp/go-sockaddr"
	"github.com/hashicorp/go-sockaddr/template"

	"github.com/skerryhq/skerry"
)

// Listener is one socket to listen on, as net.Listen takes it.
type Listener struct {
	Network string // "tcp" (DNS: for UDP as well) or "unix"
	Address string // host:port or a path
}

// Listeners returns where a protocol ("dns", "http", "https", "grpc",
// "grpc_tls") listens: on addresses.<protocol>, else on client_addr. None when
// its port is off and it has no unix socket.
func (c *Config) Listeners(protocol string) ([]Listener, error) {
	var own string
	var port int
	switch protocol {
	case "dns":
		own, port = c.Addresses.DNS, c.Ports.DNS
	case "http":
		own, port = c.Addresses.HTTP, c.Ports.HTTP
	case "https":
		own, port = c.Addresses.HTTPS, c.Ports.HTTPS
	case "grpc":
		own, port = c.Addresses.GRPC, c.Ports.GRPC
	case "grpc_tls":
		own, port = c.Addresses.GRPCTLS, c.Ports.GRPCTLS
	default:
		return nil, fmt.Errorf("no protocol %q listens", protocol)
	}
	key := "addresses." + protocol
	if own == "" {
		key, own = "client_addr", c.ClientAddr
	}
	var out []Listener
	for _, a := range strings.Fields(own) {
		if path, ok := strings.CutPrefix(a, "unix://"); ok {
			if protocol == "dns" || !filepath.IsAbs(path) {
				return nil, skerry.Errorf(skerry.Invalid, "%s: %q: want unix:///path, for http, https or grpc", key, a)
			}
			out = append(out, Listener{"unix", path})
			continue
		}
		ip, err := netip.ParseAddr(strings.Trim(a, "[]"))
		if err != nil {
			return nil, skerry.Errorf(skerry.Invalid, "%s: %q is not an IP address; ports are in ports.%s", key, a, protocol)
		}
		if port > 0 {
			out = append(out, Listener{"tcp", net.JoinHostPort(ip.String(), strconv.Itoa(port))})
		}
	}
	return out, nil
}

// Advertise returns the address for others: advertise_addr, else bind_addr when that is
// one address, else the host's first private address, else 127.0.0.1.
func (c *Config) Advertise() (netip.Addr, error) {
	if c.AdvertiseAddr != "" {
		a, err := netip.ParseAddr(c.AdvertiseAddr)
		if err != nil {
			return a, skerry.Errorf(skerry.Invalid, "advertise_addr: %q is not an IP address", c.AdvertiseAddr)
		}
		return a, nil
	}
	a, err := netip.ParseAddr(strings.Trim(c.BindAddr, "[]"))
	if err != nil {
		return a, skerry.Errorf(skerry.Invalid, "bind_addr: %q is not an IP address", c.BindAddr)
	}
	if !a.IsUnspecified() {
		return a, nil
	}
	// A host without a network still registers services for itself.
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	private, err := sockaddr.GetPrivateIP()
	if err != nil || private == "" {
		return loopback, nil
	}
	if a, err = netip.ParseAddr(private); err != nil {
		return loopback, nil
	}
	return a, nil
}

// expand replaces the go-sockaddr templates ("{{ GetPrivateIP }}") in addresses.
func (c *Config) expand() error {
	var errs []error
	one := func(key string, s *string) {
		if !strings.Contains(*s, "{{") {
			return
		}
		out, err := template.Parse(*s)
		out = strings.TrimSpace(out)
		if err == nil && out == "" {
			err = errors.New("the template gives no address on this host")
		}
		if err != nil {
			errs = append(errs, skerry.Errorf(skerry.Invalid, "%s: %q: %w", key, *s, err))
			return
		}
		*s = out
	}
	for key, s := range map[string]*string{
		"bind_addr": &c.BindAddr, "client_addr": &c.ClientAddr,
		"advertise_addr": &c.AdvertiseAddr, "advertise_addr_ipv4": &c.AdvertiseAddrIPv4,
		"advertise_addr_ipv6": &c.AdvertiseAddrIPv6, "advertise_addr_wan": &c.AdvertiseAddrWAN,
		"advertise_addr_wan_ipv4": &c.AdvertiseAddrWANIPv4, "advertise_addr_wan_ipv6": &c.AdvertiseAddrWANIPv6,
		"addresses.dns": &c.Addresses.DNS, "addresses.http": &c.Addresses.HTTP, "addresses.https": &c.Addresses.HTTPS,
		"addresses.grpc": &c.Addresses.GRPC, "addresses.grpc_tls": &c.Addresses.GRPCTLS,
	} {
		one(key, s)
	}
	for key, list := range map[string]*[]string{
		"recursors": &c.Recursors, "retry_join": &c.RetryJoin, "retry_join_wan": &c.RetryJoinWAN,
	} {
		var all []string
		for i := range *list {
			one(fmt.Sprintf("%s[%d]", key, i), &(*list)[i])
			// A template may give several addresses; cloud providers' join strings have
			// spaces that belong to them.
			if s := (*list)[i]; strings.Contains(s, "=") {
				all = append(all, s)
			} else {
				all = append(all, strings.Fields(s)...)
			}
		}
		*list = all
	}
	return errors.Join(errs...)
}
