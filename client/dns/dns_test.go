package dns

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/skerryhq/skerry/client"
)

// server is a DNS server on loopback, by UDP and TCP, that answers as the test says.
type server struct {
	address string
	mu      sync.Mutex
	records map[string][]string // by "TYPE name.", in the form of zone files
	rcodes  map[string]int
	asked   map[string]int // by network
}

func serve(t *testing.T, address string) *server {
	t.Helper()
	s := &server{records: map[string][]string{}, rcodes: map[string]int{}, asked: map[string]int{}}
	var udp net.PacketConn
	var tcp net.Listener
	for range 20 { // the port must be free for both
		var err error
		if tcp, err = net.Listen("tcp", address); err != nil {
			t.Skipf("no DNS server can listen at %s: %v", address, err)
		}
		if udp, err = net.ListenPacket("udp", tcp.Addr().String()); err == nil {
			break
		}
		tcp.Close()
	}
	s.address = tcp.Addr().String()
	for _, one := range []*dns.Server{{PacketConn: udp}, {Listener: tcp}} {
		started := make(chan struct{})
		one.NotifyStartedFunc = func() { close(started) }
		one.Handler = s
		done := make(chan struct{})
		go func() {
			defer close(done)
			one.ActivateAndServe()
		}()
		<-started
		t.Cleanup(func() { one.Shutdown(); <-done })
	}
	return s
}

// say answers a question with records from now on; none: the name has no such records.
func (s *server) say(question string, records ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records[question] = records
	delete(s.rcodes, question)
}

// refuse answers a question, or all of a network, with a code from now on; -1: not at all.
func (s *server) refuse(question string, rcode int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rcodes[question] = rcode
}

// counts returns how often it was asked.
func (s *server) counts() (tcp, udp int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked["tcp"], s.asked["udp"]
}

func (s *server) ServeDNS(w dns.ResponseWriter, question *dns.Msg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	network := w.RemoteAddr().Network()
	s.asked[network]++
	q := dns.TypeToString[question.Question[0].Qtype] + " " + question.Question[0].Name
	reply := new(dns.Msg).SetReply(question)
	records, known := s.records[q]
	if reply.Rcode = s.rcodes[q]; reply.Rcode < 0 || s.rcodes[network] < 0 {
		w.Close()
		return
	}
	if reply.Rcode == 0 && !known {
		reply.Rcode = dns.RcodeNameError
	}
	if reply.Rcode == 0 {
		for _, text := range records {
			text, extra := strings.CutPrefix(text, "+")
			rr, err := dns.NewRR(text)
			if err != nil {
				panic(err)
			}
			if extra {
				reply.Extra = append(reply.Extra, rr)
			} else {
				reply.Answer = append(reply.Answer, rr)
			}
		}
	}
	if network == "udp" {
		reply.Truncate(int(question.IsEdns0().UDPSize()))
	}
	w.WriteMsg(reply)
}

// source asks the servers at once again.
func source(t *testing.T, path string, servers ...string) *Source {
	t.Helper()
	s, err := client.OpenSource("dns://" + strings.Join(servers, ",") + "/" + path)
	if err != nil {
		t.Fatal(err)
	}
	found := s.(*Source)
	found.least, found.most = 10*time.Millisecond, 10*time.Millisecond
	return found
}

const within = 15 * time.Second

// first returns what is told first.
func first(t *testing.T, s *Source, service string) (client.Update, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	for u, err := range s.Watch(ctx, service) {
		return u, err
	}
	t.Fatal("nothing is told")
	panic("unreachable")
}

func list(u client.Update) string {
	var out []string
	for _, i := range u.Instances {
		text := fmt.Sprintf("%s*%d", i.Address, i.Weight)
		if i.Draining {
			text += "(backup)"
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

func TestLookup(t *testing.T) {
	s := serve(t, "127.0.0.1:0")
	s.say("SRV web.service.consul.",
		"web.service.consul. 0 SRV 1 10 8001 a.example.", "web.service.consul. 0 SRV 1 20 8002 b.example.",
		"web.service.consul. 0 SRV 2 1 8003 c.example.", "web.service.consul. 0 SRV 1 5 8004 six.example.",
		"+a.example. 0 A 10.0.0.1", "+a.example. 0 AAAA fd00::1", "+six.example. 0 AAAA fd00::6")
	s.say("A b.example.", "b.example. 0 CNAME b2.example.", "b2.example. 0 A 10.0.0.2", "b2.example. 0 A 10.0.0.3")
	s.say("A c.example.")
	s.say("AAAA c.example.", "c.example. 0 AAAA fd00::3")
	s.say("A headless.prod.svc.", "headless.prod.svc. 0 A 10.0.1.1", "headless.prod.svc. 0 A 10.0.1.2")
	s.say("SRV none.service.consul.", "none.service.consul. 0 SRV 0 0 0 .")
	s.say("SRV nodata.service.consul.")
	const srv = "10.0.0.1:8001*10 10.0.0.2:8002*20 10.0.0.3:8002*20 [fd00::3]:8003*1(backup) [fd00::6]:8004*5"
	for _, c := range []struct{ path, service, want string }{
		{"", "web.service.consul", srv},
		{"service.consul", "web", srv},
		{"service.consul", "web.service.consul.", srv},
		{"web.service.consul", "", srv},
		{"web.service.consul", "WEB.service.consul", srv},
		{"", "headless.prod.svc:80", "10.0.1.1:80*0 10.0.1.2:80*0"},
		{"prod.svc", "headless:80", "10.0.1.1:80*0 10.0.1.2:80*0"},
		{"", "none.service.consul", ""},
		{"", "nodata.service.consul", ""},
		{"", "nowhere.service.consul", ""}, // NXDOMAIN
		{"", "nowhere:80", ""},
	} {
		u, err := first(t, source(t, c.path, s.address), c.service)
		if name := strings.ToLower(c.want); err != nil || list(u) != c.want || u.Proven || u.Unsettled || u.Revision != 0 {
			t.Errorf("%q in %q: %s, %+v, %v; want %s", c.service, c.path, list(u), u, err, name)
		}
		for _, i := range u.Instances {
			if i.Service != c.service || i.Meta[MetaHost] == "" || i.ID != i.Address {
				t.Errorf("%+v", i)
			}
		}
	}
}

// What is no answer is an error, and never an empty list.
func TestFailures(t *testing.T) {
	s := serve(t, "127.0.0.1:0")
	s.refuse("SRV fail.", dns.RcodeServerFailure)
	s.refuse("SRV refused.", dns.RcodeRefused)
	s.refuse("SRV silent.", -1)
	s.say("SRV target.", "target. 0 SRV 0 0 80 lost.example.")
	s.refuse("A lost.example.", dns.RcodeServerFailure)
	s.say("A six.")
	s.refuse("AAAA six.", dns.RcodeServerFailure)
	for service, want := range map[string]string{
		"fail": "SERVFAIL", "refused": "REFUSED", "silent": "timeout", "target": "SERVFAIL", "six:80": "SERVFAIL",
		"a:b": "is no number", "a:0": "is no number", "": "no domain name", "a..b": "no domain name",
	} {
		if u, err := first(t, source(t, "", s.address), service); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v; want %s", service, u, err, want)
		}
	}
	// Some targets are to be had: the list is not whole.
	s.say("SRV part.", "part. 0 SRV 0 0 80 lost.example.", "part. 0 SRV 0 0 80 here.example.", "+here.example. 0 A 10.0.0.1")
	if u, err := first(t, source(t, "", s.address), "part"); err != nil || list(u) != "10.0.0.1:80*0" || !u.Unsettled {
		t.Errorf("some targets: %+v, %v", u, err)
	}
	// Another server answers.
	if u, err := first(t, source(t, "", "127.0.0.1:1", s.address), "part"); err != nil || len(u.Instances) != 1 {
		t.Errorf("with a dead server: %+v, %v", u, err)
	}
}

// A long list comes whole, by TCP. A server that takes UDP alone sends what fits, and
// the list is known not to be whole; it is not asked by TCP for a while.
func TestLarge(t *testing.T) {
	s := serve(t, "127.0.0.1:0")
	var records []string
	for n := range 250 {
		records = append(records, fmt.Sprintf("web. 0 SRV 1 1 %d n%d.example.", 8000+n, n), fmt.Sprintf("+n%d.example. 0 A 10.0.%d.%d", n, n/200, n%200+1))
	}
	s.say("SRV web.", records...)
	u, err := first(t, source(t, "", s.address), "web")
	if tcp, udp := s.counts(); err != nil || len(u.Instances) != 250 || u.Unsettled || tcp != 1 || udp != 0 {
		t.Errorf("%d instances, %v, asked %d times by TCP and %d by UDP", len(u.Instances), err, tcp, udp)
	}
	s.say("SRV web.", "web. 0 SRV 0 0 80 a.example.", "+a.example. 0 A 10.0.0.1")
	s.refuse("tcp", -1)
	found := source(t, "", s.address)
	for range 2 {
		if u, err := first(t, found, "web"); err != nil || len(u.Instances) != 1 || u.Unsettled {
			t.Errorf("by UDP: %+v, %v", u, err)
		}
	}
	if tcp, _ := s.counts(); tcp != 2 {
		t.Errorf("asked %d times by TCP", tcp)
	}
	records = nil
	for n := range 250 {
		records = append(records, fmt.Sprintf("cut. 0 A 10.0.%d.%d", n/200, n%200+1))
	}
	s.say("A cut.", records...)
	if u, err := first(t, found, "cut:80"); err != nil || len(u.Instances) == 0 || len(u.Instances) == 250 || !u.Unsettled {
		t.Errorf("cut: %d instances, unsettled %v, %v", len(u.Instances), u.Unsettled, err)
	}
}

// Through a client: a server that fails freezes the list, a name that is gone is
// believed after a while.
func TestThroughAClient(t *testing.T) {
	s := serve(t, "127.0.0.1:0")
	s.say("A web.", "web. 0 A 10.0.0.1", "web. 0 A 10.0.0.2")
	c := client.New(source(t, "", s.address), client.WithCacheDir(""), client.WithHold(300*time.Millisecond))
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	step := 0
	for l := range c.Watch(ctx, "web:80") {
		switch {
		case step == 0 && len(l.Instances) == 2 && l.Freshness == client.Live:
			s.refuse("A web.", dns.RcodeServerFailure)
		case step == 1 && len(l.Instances) == 2 && l.Freshness == client.Frozen && l.Err != nil:
			s.refuse("A web.", dns.RcodeNameError)
		case step == 2 && len(l.Instances) == 2 && l.Freshness == client.Live && l.Held == 0:
			continue // answered before the name was gone
		case step == 2 && len(l.Instances) == 2 && l.Freshness == client.Live && l.Held == 2:
		case step == 3 && len(l.Instances) == 0 && l.Freshness == client.Live:
			return
		default:
			t.Fatalf("step %d: %+v", step, l)
		}
		step++
	}
	t.Fatalf("ended at step %d", step)
}

// Without a server in the URL those of the host are asked, with its search list.
func TestResolvConf(t *testing.T) {
	s := serve(t, "127.9.8.7:53")
	s.say("A web.prod.svc.cluster.local.", "web.prod.svc.cluster.local. 0 A 10.0.0.1")
	conf := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(conf, []byte("nameserver 127.9.8.7\nsearch prod.svc.cluster.local svc.cluster.local\noptions ndots:5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	here := source(t, "")
	here.resolver = newResolver(conf)
	for _, service := range []string{"web:80", "web.prod:80"} {
		if u, err := first(t, here, service); err != nil || list(u) != "10.0.0.1:80*0" {
			t.Errorf("%s: %s, %v", service, list(u), err)
		}
	}
	here.resolver = newResolver(conf + "x")
	if _, err := first(t, here, "web:80"); err == nil {
		t.Error("no file is no error")
	}
}

// When a record expires says when to ask again.
func TestTTL(t *testing.T) {
	for _, c := range []struct {
		answer, extra, ns string
		want              time.Duration
	}{
		{"a. 7 A 10.0.0.1", "", "", 7 * time.Second},
		{"a. 7 SRV 0 0 1 b.", "b. 3 A 10.0.0.1", "", 3 * time.Second},
		{"", "", "a. 9 SOA ns. me. 1 2 3 4 5", 5 * time.Second},
		{"", "", "", unsaid},
		{"a. 0 A 10.0.0.1", "", "a. 1 NS b.", 0},
	} {
		reply := new(dns.Msg)
		for text, section := range map[string]*[]dns.RR{c.answer: &reply.Answer, c.extra: &reply.Extra, c.ns: &reply.Ns} {
			if rr, err := dns.NewRR(text); err != nil {
				t.Fatal(err)
			} else if rr != nil {
				*section = append(*section, rr)
			}
		}
		if got := read(reply, "a.", dns.TypeA).ttl; got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestOpen(t *testing.T) {
	for rawURL, want := range map[string]string{"dns:///?x=1": "unknown parameter", "dns:///a/b": "is no domain"} {
		if _, err := client.OpenSource(rawURL); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", rawURL, err, want)
		}
	}
	s := source(t, "", "ns1", "[::1]", "10.0.0.1:5353")
	if got := strings.Join(s.resolver.servers, " "); got != "ns1:53 [::1]:53 10.0.0.1:5353" {
		t.Errorf("servers %s", got)
	}
}

// FuzzReply: whatever a server sends is instances with addresses, or none.
func FuzzReply(f *testing.F) {
	reply := new(dns.Msg).SetQuestion("a.", dns.TypeA)
	for _, text := range []string{"a. 7 A 10.0.0.1", "a. 7 SRV 0 0 1 b.", "a. 1 SOA ns. me. 1 2 3 4 5"} {
		rr, err := dns.NewRR(text)
		if err != nil {
			f.Fatal(err)
		}
		reply.Answer, reply.Ns, reply.Extra = append(reply.Answer, rr), append(reply.Ns, rr), append(reply.Extra, rr)
	}
	data, err := reply.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data, uint16(dns.TypeSRV))
	f.Fuzz(func(t *testing.T, data []byte, kind uint16) {
		reply := new(dns.Msg)
		if reply.Unpack(data) != nil {
			return
		}
		a := read(reply, "a.", kind)
		for _, ip := range a.ips {
			if net.ParseIP(ip) == nil {
				t.Errorf("%q from %s", ip, reply)
			}
		}
		if a.ttl < 0 {
			t.Errorf("ttl %v from %s", a.ttl, reply)
		}
	})
}
