package skerry_test

import (
	"strings"
	"testing"

	"github.com/skerryhq/skerry"
)

func TestAddressTrouble(t *testing.T) {
	for address, fix := range map[string]string{
		"": "", "10.0.0.1": "", "2001:db8::1": "", "::ffff:10.0.0.1": "", "fe80::1%eth0": "",
		"example.com": "", "example.com.": "", "localhost": "", "my_host-1.example": "", "1.example": "", "10": "an IP address or a host name",
		strings.Repeat("a", 63) + ".b":       "",
		strings.Repeat("a", 64) + ".b":       "an IP address or a host name",
		strings.Repeat("abcdefg.", 32) + "x": "an IP address or a host name",
		"[2001:db8::1]":                      "without brackets",
		"[2001:db8::1]:80":                   "the port as Port",
		"10.0.0.1:80":                        "the port as Port",
		"example.com:80":                     "the port as Port",
		"https://x":                          "the host alone",
		"10.0.0.256":                         "an IP address or a host name",
		"10.0.0.0/8":                         "an IP address or a host name",
		"two words":                          "an IP address or a host name",
		"a..b":                               "an IP address or a host name",
		"-a.b":                               "an IP address or a host name",
		"bücher.example":                     "an IP address or a host name",
		".":                                  "an IP address or a host name",
	} {
		err := skerry.AddressTrouble(address)
		if (err == nil) != (fix == "") || err != nil && (!strings.Contains(err.Error(), fix) || !strings.Contains(err.Error(), "address ")) {
			t.Errorf("%q: %v, want %q", address, err, fix)
		}
	}
}

func TestDNSTrouble(t *testing.T) {
	e := &skerry.Entry{Node: &skerry.Node{Name: "n", Address: "10.0.0.1:80"}, Instance: &skerry.Instance{ID: "i"}}
	if e.DNSTrouble() == nil {
		t.Error("an instance has its node's address")
	}
	e.Node.TaggedAddresses = map[string]string{"lan_ipv4": "10.0.0.1"}
	if err := e.DNSTrouble(); err != nil {
		t.Errorf("the node has a tagged address: %v", err)
	}
	e.Instance.Address = "https://x"
	if e.DNSTrouble() == nil {
		t.Error("the instance has an address of its own")
	}
	e.Instance.TaggedAddresses = map[string]skerry.Endpoint{"lan_ipv6": {Address: "2001:db8::1"}}
	if err := e.DNSTrouble(); err != nil {
		t.Errorf("the instance has a tagged address: %v", err)
	}
}
