package e2e

import (
	"fmt"
	"net"
	"path/filepath"
	"testing"

	"github.com/miekg/dns"

	"github.com/skerryhq/skerry/test/program"
)

// A resolver that asks label by label, and believes that nothing is beneath a name that is
// not there, finds all names.
func TestResolverThatMinimisesNames(t *testing.T) {
	program.Need(t, "unbound")
	a := start(t, nil)
	a.register(`{"ID": "api", "Name": "api", "Address": "10.1.1.1", "Port": 80, "Tags": ["v2.0"]}`)
	a.ok("PUT", "/v1/catalog/register", `{"Node": "host.example.com", "Address": "10.1.1.2"}`)
	resolver := unboundBefore(t, a.dns)
	ask := func(name string, typ uint16) (*dns.Msg, error) {
		m := new(dns.Msg)
		m.SetQuestion(name, typ)
		r, _, err := new(dns.Client).Exchange(m, resolver)
		return r, err
	}
	await(t, "unbound", func() error {
		_, err := ask("consul.", dns.TypeSOA)
		return err
	})
	for _, tt := range []struct {
		name string
		typ  uint16
	}{
		{"nothing.service.consul.", dns.TypeA}, // the resolver remembers what is not there
		{"api.service.consul.", dns.TypeA},
		{"v2.0.api.service.dc1.consul.", dns.TypeA},
		{"_api._tcp.service.consul.", dns.TypeSRV},
		{"host.example.com.node.consul.", dns.TypeA},
		{"1.1.1.10.in-addr.arpa.", dns.TypePTR},
	} {
		r, err := ask(tt.name, tt.typ)
		if err != nil {
			t.Fatal(err)
		}
		if found := len(r.Answer) > 0; found == (tt.name == "nothing.service.consul.") {
			t.Errorf("%s: %v", tt.name, r)
		}
	}
}

// unboundBefore starts a resolver that asks back for our names, and returns its address.
func unboundBefore(t *testing.T, back string) string {
	t.Helper()
	dir := t.TempDir()
	port := program.Port(t)
	_, backPort, err := net.SplitHostPort(back)
	if err != nil {
		t.Fatal(err)
	}
	stubs := ""
	for _, zone := range []string{"consul", "10.in-addr.arpa"} {
		stubs += fmt.Sprintf("stub-zone:\n name: %q\n stub-addr: 127.0.0.1@%s\n", zone, backPort)
	}
	file := filepath.Join(dir, "unbound.conf")
	write(t, file, fmt.Sprintf(`server:
 interface: 127.0.0.1@%d
 port: %d
 do-daemonize: no
 chroot: ""
 username: ""
 pidfile: ""
 directory: %q
 use-syslog: no
 do-not-query-localhost: no
 qname-minimisation-strict: yes
 harden-below-nxdomain: yes
 module-config: "iterator"
 local-zone: "10.in-addr.arpa." nodefault
%s`, port, port, dir, stubs))
	background(t, "unbound", "-d", "-c", file)
	return local(port)
}
