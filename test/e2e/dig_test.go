package e2e

import (
	"fmt"
	"net"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/skerryhq/skerry/test/program"
)

// dig asks the agent and returns the answer in lines: the comments that carry
// status, flags and EDNS, and the records.
func (a *agent) dig(args string) string {
	a.t.Helper()
	_, port, _ := net.SplitHostPort(a.dns)
	all := append([]string{"@127.0.0.1", "-p", port, "+noall", "+comments", "+answer", "+authority", "+additional", "+tries=1", "+nocookie"},
		strings.Fields(args)...)
	out, err := exec.Command("dig", all...).Output()
	if err != nil {
		a.t.Fatalf("dig %s: %v\n%s", args, err, out)
	}
	return regexp.MustCompile(`[ \t]+`).ReplaceAllString(string(out), " ")
}

func TestDig(t *testing.T) {
	program.Need(t, "dig")
	a := start(t, map[string]any{
		"node_meta":  map[string]any{"rack": "r7", "rfc1035-note": "hello"},
		"dns_config": map[string]any{"service_ttl": map[string]any{"web": "7s"}, "node_ttl": "3s"},
	})
	a.register(
		`{"ID": "web-1", "Name": "web", "Address": "10.1.1.1", "Port": 8001, "Tags": ["release"], "Weights": {"Passing": 3, "Warning": 1}}`,
		`{"ID": "six", "Name": "six", "Address": "2001:db8::6", "Port": 8006}`,
		`{"ID": "ext", "Name": "ext", "Address": "www.example.org", "Port": 443}`,
	)
	ok := []string{"status: NOERROR", "flags: qr aa rd"}
	for _, tt := range []struct {
		args string
		want []string
	}{
		{"web.service.consul A", append(ok, "web.service.consul. 7 IN A 10.1.1.1", "ANSWER: 1")},
		{"web.service.dc1.consul A", append(ok, "web.service.dc1.consul. 7 IN A 10.1.1.1")},
		{"release.web.service.consul A", append(ok, "release.web.service.consul. 7 IN A 10.1.1.1")},
		{"six.service.consul AAAA", append(ok, "six.service.consul. 0 IN AAAA 2001:db8::6")},
		{"web.service.consul SRV", append(ok, "web.service.consul. 7 IN SRV 1 3 8001 0a010101.addr.dc1.consul.", "0a010101.addr.dc1.consul. 7 IN A 10.1.1.1")},
		{"_web._tcp.service.consul SRV", append(ok, "_web._tcp.service.consul. 7 IN SRV 1 3 8001 0a010101.addr.dc1.consul.")},
		{"_web._release.service.consul SRV", append(ok, "IN SRV 1 3 8001")},
		{"six.service.consul SRV", append(ok, "IN SRV 1 1 8006 20010db8000000000000000000000006.addr.dc1.consul.", "IN AAAA 2001:db8::6")},
		{"ext.service.consul A", append(ok, "ext.service.consul. 0 IN CNAME www.example.org.")},
		{"n1.node.consul A", append(ok, "n1.node.consul. 3 IN A 127.0.0.1")},
		{"n1.node.consul TXT", append(ok, `n1.node.consul. 3 IN TXT "rack=r7"`, `n1.node.consul. 3 IN TXT "hello"`)},
		{"n1.node.consul ANY", append(ok, "n1.node.consul. 3 IN A 127.0.0.1", `"rack=r7"`)},
		{"web.service.consul ANY", append(ok, "web.service.consul. 7 IN A 10.1.1.1")},
		{"0a010101.addr.dc1.consul A", append(ok, "0a010101.addr.dc1.consul. 3 IN A 10.1.1.1")},
		{"-x 10.1.1.1", append(ok, "1.1.1.10.in-addr.arpa. 3 IN PTR web.service.dc1.consul.")},
		{"-x 127.0.0.1", append(ok, "1.0.0.127.in-addr.arpa. 3 IN PTR n1.node.dc1.consul.")},
		{"-x 2001:db8::6", append(ok, "IN PTR six.service.dc1.consul.")},
		{"consul SOA", append(ok, "consul. 0 IN SOA ns.consul. hostmaster.consul.")},
		{"consul NS", append(ok, "consul. 3 IN NS n1.node.dc1.consul.", "n1.node.dc1.consul. 3 IN A 127.0.0.1")},
		{"web.service.consul AAAA", append(ok, "ANSWER: 0", "consul. 0 IN SOA")},
		{"none.service.consul A", []string{"status: NXDOMAIN", "consul. 0 IN SOA"}},
		{"example.org A", []string{"status: REFUSED"}},
		{"+tcp web.service.consul A", append(ok, "web.service.consul. 7 IN A 10.1.1.1")},
		{"+tcp web.service.consul SRV", append(ok, "IN SRV 1 3 8001")},
		{"+bufsize=4096 web.service.consul A", append(ok, "udp: 4096", "IN A 10.1.1.1")},
		{"+noedns web.service.consul A", append(ok, "ADDITIONAL: 0", "IN A 10.1.1.1")},
		{"WEB.Service.CONSUL A", append(ok, "WEB.Service.CONSUL. 7 IN A 10.1.1.1")},
	} {
		t.Run(tt.args, func(t *testing.T) {
			got := a.dig(tt.args)
			for _, want := range tt.want {
				if !strings.Contains(got, want) {
					t.Errorf("dig %s lacks %q:\n%s", tt.args, want, got)
				}
			}
		})
	}
}

// An answer that does not fit over UDP is cut and says so; over TCP it is whole.
func TestDigTruncation(t *testing.T) {
	program.Need(t, "dig")
	a := start(t, map[string]any{"dns_config": map[string]any{"udp_answer_limit": 100, "enable_truncate": true}})
	const n = 60
	services := make([]string, n)
	for i := range services {
		services[i] = fmt.Sprintf(`{"Name": "many", "ID": "many-%d", "Address": "10.3.0.%d", "Port": 80}`, i, i+1)
	}
	a.ok("PUT", "/v1/skerry/set", `{"Services": [`+strings.Join(services, ",")+`]}`)
	cut := a.dig("+ignore +noedns many.service.consul A")
	if !strings.Contains(cut, "flags: qr aa tc rd") {
		t.Errorf("the cut answer does not say that it is cut:\n%s", cut)
	}
	if again := a.dig("+ignore +noedns many.service.consul A"); !slices.Equal(records(cut), records(again)) {
		t.Errorf("the same client got two different parts:\n%v\n%v", records(cut), records(again))
	}
	if whole := a.dig("+tcp many.service.consul A"); len(records(whole)) != n || strings.Contains(whole, " tc ") {
		t.Errorf("over TCP there are %d records, want %d:\n%s", len(records(whole)), n, whole)
	}
}

// records returns the A records of an answer in an order of their own.
func records(answer string) []string {
	var out []string
	for line := range strings.Lines(answer) {
		if strings.Contains(line, " IN A ") {
			out = append(out, strings.TrimSpace(line))
		}
	}
	slices.Sort(out)
	return out
}
