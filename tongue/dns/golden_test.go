package dns

import (
	"context"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/skerryhq/skerry"
)

// self is the server of the tests.
var self = skerry.Self{Name: "dual", Datacenter: "dc1"}

// basicCatalog is what testdata/basic.golden was asked of.
func basicCatalog() *fakeCatalog {
	c := newFake()
	c.put(&skerry.Node{Name: "node-1", Datacenter: "dc1", Address: "127.0.0.1", Meta: map[string]string{"consul-version": "1.0.0", "consul-network-segment": ""}},
		one(skerry.Instance{ID: "consul", Service: "consul", Port: 8300}))
	c.put(&skerry.Node{Name: "n1", Datacenter: "dc1", Address: "10.0.0.1",
		Meta:            map[string]string{"rack": "r1", "rfc1035-note": "plain text", "k=v": "x y"},
		TaggedAddresses: map[string]string{"wan": "198.51.100.1"}},
		one(skerry.Instance{ID: "web1", Service: "web", Port: 80, Tags: []string{"release", "Blue"}, Weights: skerry.Weights{Passing: 10, Warning: 1}}),
		check("web1", skerry.Passing))
	c.put(&skerry.Node{Name: "n2", Datacenter: "dc1", Address: "10.0.0.2"},
		one(skerry.Instance{ID: "web2", Service: "web", Port: 81, Tags: []string{"canary"}, Address: "10.1.1.2"}),
		check("web2", skerry.Warning))
	c.put(&skerry.Node{Name: "n3", Datacenter: "dc1", Address: "10.0.0.3"},
		one(skerry.Instance{ID: "web3", Service: "web", Port: 82, Tags: []string{"release"}}),
		check("web3", skerry.Critical))
	c.put(&skerry.Node{Name: "n4", Datacenter: "dc1", Address: "2001:db8::4"},
		one(skerry.Instance{ID: "six", Service: "six", Port: 83, Address: "2001:db8::99"}))
	c.put(&skerry.Node{Name: "n5", Datacenter: "dc1", Address: "10.0.0.5"},
		one(skerry.Instance{ID: "dead", Service: "dead", Port: 84}), check("", skerry.Critical))
	c.put(&skerry.Node{Name: "n6", Datacenter: "dc1", Address: "host.example.com"},
		one(skerry.Instance{ID: "name", Service: "named", Port: 85, Address: "svc.example.com"}))
	return c
}

// manyCatalog is what testdata/many.golden was asked of.
func manyCatalog() *fakeCatalog {
	c := newFake()
	for n := 1; n <= 50; n++ {
		c.put(&skerry.Node{Name: fmt.Sprintf("m%03d", n), Datacenter: "dc1", Address: fmt.Sprintf("10.0.1.%d", n)},
			one(skerry.Instance{ID: "many", Service: "many", Port: 8000 + n}))
		c.put(&skerry.Node{Name: fmt.Sprintf("a%03d", n), Datacenter: "dc1", Address: fmt.Sprintf("10.0.2.%d", n)},
			one(skerry.Instance{ID: "addr", Service: "addrs", Port: 8000 + n, Address: fmt.Sprintf("10.200.100.%d", n)}))
	}
	return c
}

// start serves on loopback and returns the address of both sockets. The server
// has stopped when the test ends.
func start(t testing.TB, s *Server) string {
	t.Helper()
	packet, stream := listen(t)
	serveOn(t, s, packet, stream)
	return packet.LocalAddr().String()
}

// serveOn serves until the test ends.
func serveOn(t testing.TB, s *Server, packet net.PacketConn, stream net.Listener) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, packet, stream) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

// listen opens a UDP and a TCP socket on one free port of loopback.
func listen(t testing.TB) (net.PacketConn, net.Listener) {
	t.Helper()
	for range 20 {
		packet, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		stream, err := net.Listen("tcp", packet.LocalAddr().String())
		if err == nil {
			return packet, stream
		}
		packet.Close()
	}
	t.Fatal("no port is free for both UDP and TCP")
	return nil, nil
}

// dig asks a question that is written as for dig(1), with dig's own defaults.
func dig(t testing.TB, server, args string) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	m.Id, m.RecursionDesired, m.AuthenticatedData = dns.Id(), true, true
	q := dns.Question{Qtype: dns.TypeA, Qclass: dns.ClassINET}
	network, size, do := "udp", 1232, false
	var subnet *dns.EDNS0_SUBNET
	fields := strings.Fields(args)
	for i, f := range fields {
		key, value, _ := strings.Cut(f, "=")
		switch {
		case f == "-x":
			q.Name, _ = dns.ReverseAddr(fields[i+1])
			q.Qtype = dns.TypePTR
		case i > 0 && fields[i-1] == "-x", f == "+notcp":
		case f == "+noedns":
			size = 0
		case key == "+bufsize":
			size, _ = strconv.Atoi(value)
		case f == "+tcp":
			network = "tcp"
		case f == "+norec":
			m.RecursionDesired = false
		case f == "+dnssec":
			do = true
		case key == "+subnet":
			_, n, err := net.ParseCIDR(value)
			if err != nil {
				t.Fatal(err)
			}
			ones, _ := n.Mask.Size()
			subnet = &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: uint8(ones), Address: n.IP}
		case dns.StringToType[f] != 0 && i > 0:
			q.Qtype = dns.StringToType[f]
		case i == 0:
			q.Name = dns.Fqdn(f)
		default:
			t.Fatalf("dig %s: %q is not understood", args, f)
		}
	}
	m.Question = []dns.Question{q}
	if size > 0 {
		m.SetEdns0(uint16(size), do)
		if subnet != nil {
			m.IsEdns0().Option = []dns.EDNS0{subnet}
		}
	}
	r, _, err := (&dns.Client{Net: network}).Exchange(m, server)
	if err != nil {
		t.Fatalf("dig %s: %v", args, err)
	}
	return r
}

// show writes an answer as the golden files have it.
func show(m *dns.Msg, mask *regexp.Regexp) string {
	head := []string{dns.RcodeToString[m.Rcode]}
	for _, f := range []struct {
		on   bool
		name string
	}{{m.Response, "qr"}, {m.Authoritative, "aa"}, {m.Truncated, "tc"}, {m.RecursionDesired, "rd"}, {m.RecursionAvailable, "ra"}, {m.AuthenticatedData, "ad"}} {
		if f.on {
			head = append(head, f.name)
		}
	}
	if opt := m.IsEdns0(); opt != nil {
		head = append(head, fmt.Sprint("edns=", opt.UDPSize()))
		for _, o := range opt.Option {
			head = append(head, "subnet="+o.String())
		}
	}
	var b strings.Builder
	fmt.Fprintln(&b, strings.Join(head, " "))
	for _, q := range m.Question {
		fmt.Fprintf(&b, "question %s IN %s\n", q.Name, dns.TypeToString[q.Qtype])
	}
	for _, section := range []struct {
		name string
		rrs  []dns.RR
	}{{"answer", m.Answer}, {"authority", m.Ns}, {"additional", withoutOPT(m.Extra)}} {
		var lines []string
		for _, rr := range section.rrs {
			if soa, ok := rr.(*dns.SOA); ok {
				soa.Serial = 0
			}
			line := strings.Join(strings.Fields(rr.String()), " ")
			line = strings.Replace(line, "hostmaster.consul. 0 ", "hostmaster.consul. <serial> ", 1)
			lines = append(lines, maskLine(line, mask))
		}
		slices.Sort(lines)
		if mask != nil {
			lines = counted(lines)
		}
		for _, l := range lines {
			fmt.Fprintln(&b, section.name, l)
		}
	}
	return b.String()
}

var (
	maskV4  = regexp.MustCompile(`\b\d+\.\d+\.\d+\.\d+\b`)
	maskHex = regexp.MustCompile(`\b[0-9a-f]{8}\.addr\.`)
	maskOne = regexp.MustCompile(`\b([ma]\d{3}|8\d{3})\b`)
)

func maskLine(line string, mask *regexp.Regexp) string {
	if mask == nil {
		return line
	}
	line = maskV4.ReplaceAllString(line, "<v4>")
	line = maskHex.ReplaceAllString(line, "<hex>.addr.")
	return mask.ReplaceAllString(line, "<any>")
}

// counted folds equal lines.
func counted(lines []string) (out []string) {
	for i := 0; i < len(lines); {
		n := 1
		for i+n < len(lines) && lines[i+n] == lines[i] {
			n++
		}
		out = append(out, fmt.Sprintf("%d x %s", n, lines[i]))
		i += n
	}
	return out
}

// thereThough are the recorded questions for names with names beneath them, which Consul
// says are not there.
var thereThough = map[string]bool{"consul A": true, "consul ANY": true, "service.consul A": true, "node.consul A": true}

// TestGolden compares every recorded question with Consul's answer.
func TestGolden(t *testing.T) {
	for _, g := range []struct {
		file    string
		catalog *fakeCatalog
		mask    *regexp.Regexp
		blocks  int
	}{{"testdata/basic.golden", basicCatalog(), nil, 81}, {"testdata/many.golden", manyCatalog(), maskOne, 12}} {
		data, err := os.ReadFile(g.file)
		if err != nil {
			t.Fatal(err)
		}
		server := start(t, New(self, g.catalog, Config{AdditionalNodeMetaTXT: true}))
		blocks := 0
		for block := range strings.SplitSeq(string(data), "\n\n") {
			args, want, ok := strings.Cut(strings.TrimLeft(block, "\n"), "\n")
			args, isQuestion := strings.CutPrefix(args, "> ")
			if !ok || !isQuestion {
				continue
			}
			blocks++
			if thereThough[args] {
				want = strings.Replace(want, "NXDOMAIN", "NOERROR", 1)
			}
			t.Run(args, func(t *testing.T) {
				if got := show(dig(t, server, args), g.mask); got != strings.TrimSpace(want)+"\n" {
					t.Errorf("got\n%swant\n%s", got, want)
				}
			})
		}
		if blocks != g.blocks {
			t.Errorf("%s: %d questions, want %d", g.file, blocks, g.blocks)
		}
	}
}
