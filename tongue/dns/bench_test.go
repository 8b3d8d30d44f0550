//go:build unix

package dns

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/miekg/dns"

	"github.com/skerryhq/skerry"
)

// benchRole makes the test binary a server whose CPU time can be told apart.
const benchRole = "SKERRY_DNS_BENCH_ROLE"

func TestMain(m *testing.M) {
	if role := os.Getenv(benchRole); role != "" {
		if err := benchServer(role); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// tenCatalog has one service, "web", with ten instances.
func tenCatalog() *fakeCatalog {
	c := newFake()
	for n := 1; n <= 10; n++ {
		c.put(&skerry.Node{Name: fmt.Sprintf("node-%02d", n), Datacenter: "dc1", Address: fmt.Sprintf("10.0.1.%d", n)},
			one(skerry.Instance{ID: "web", Service: "web", Port: 8000 + n}))
	}
	return c
}

func benchQuestion(qtype uint16) *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion("web.service.consul.", qtype)
	m.SetEdns0(1232, false)
	return m
}

// sink is a client that counts what it gets.
type sink struct {
	dns.ResponseWriter
	client net.Addr
	bytes  int
	last   []byte
}

func (w *sink) RemoteAddr() net.Addr { return w.client }

func (w *sink) Write(b []byte) (int, error) {
	w.bytes += len(b)
	w.last = append(w.last[:0], b...)
	return len(b), nil
}

func (w *sink) WriteMsg(m *dns.Msg) error {
	b, err := m.Pack()
	w.bytes += len(b)
	w.last = append(w.last[:0], b...)
	return err
}

var benchTypes = []struct {
	name  string
	qtype uint16
}{{"A", dns.TypeA}, {"SRV", dns.TypeSRV}}

func BenchmarkServe(b *testing.B) {
	for _, bt := range benchTypes {
		b.Run(bt.name, func(b *testing.B) {
			benchHandler(b, handler{New(self, tenCatalog(), Config{}), context.Background()}, bt.qtype)
		})
	}
}

// BenchmarkBare is the library alone with the same answer ready as a message.
func BenchmarkBare(b *testing.B) {
	for _, bt := range benchTypes {
		b.Run(bt.name, func(b *testing.B) { benchHandler(b, bareHandler(bt.qtype), bt.qtype) })
	}
}

func benchHandler(b *testing.B, h dns.Handler, qtype uint16) {
	q := benchQuestion(qtype)
	w := &sink{client: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5353}}
	b.ReportAllocs()
	for b.Loop() {
		h.ServeDNS(w, q)
	}
	b.ReportMetric(float64(w.bytes)/float64(b.N), "B/answer")
}

// bareHandler answers with the very message that we answer with.
func bareHandler(qtype uint16) dns.Handler {
	w := &sink{client: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}}
	handler{New(self, tenCatalog(), Config{}), context.Background()}.ServeDNS(w, benchQuestion(qtype))
	var ready dns.Msg
	if err := ready.Unpack(w.last); err != nil {
		panic(err)
	}
	ready.Compress = true
	return dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := ready
		m.Id = q.Id
		_ = w.WriteMsg(&m)
	})
}

// BenchmarkUDP asks a server in a process of its own over loopback and reports
// the server's CPU time for one question, next to the bare library's.
func BenchmarkUDP(b *testing.B) {
	for _, bt := range benchTypes {
		for _, role := range []string{"skerry", "bare"} {
			b.Run(role+"/"+bt.name, func(b *testing.B) {
				cpu := benchProcess(b, role+" "+bt.name, bt.qtype)
				b.ReportMetric(cpu/float64(b.N), "server-cpu-ns/query")
			})
		}
	}
}

// benchServer is the other process: it serves until its input ends, and then
// prints the CPU time since the warm-up in nanoseconds.
func benchServer(role string) error {
	which, typ, _ := strings.Cut(role, " ")
	packet, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	if which == "bare" {
		srv := &dns.Server{PacketConn: packet, Handler: bareHandler(dns.StringToType[typ]), UDPSize: maxQuery}
		go func() { done <- run(ctx, srv) }()
	} else {
		go func() { done <- New(self, tenCatalog(), Config{}).Serve(ctx, packet, nil) }()
	}
	fmt.Println(packet.LocalAddr())
	in := bufio.NewScanner(os.Stdin)
	in.Scan()
	before := cpuTime()
	fmt.Println("warm")
	in.Scan()
	fmt.Println(cpuTime() - before)
	cancel()
	return <-done
}

func cpuTime() int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

func benchProcess(b *testing.B, role string, qtype uint16) (cpu float64) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), benchRole+"="+role)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	out := bufio.NewScanner(pipe)
	out.Scan()
	server := out.Text()
	fire(b, server, qtype, 2000)
	say(b, in, out)
	b.ResetTimer()
	fire(b, server, qtype, b.N)
	b.StopTimer()
	fmt.Sscan(say(b, in, out), &cpu)
	if err := cmd.Wait(); err != nil {
		b.Fatal(err)
	}
	return cpu
}

// say sends a line and returns the line that answers it.
func say(b *testing.B, in io.Writer, out *bufio.Scanner) string {
	fmt.Fprintln(in)
	if !out.Scan() {
		b.Fatal("the server process has gone")
	}
	return out.Text()
}

// fire asks n questions, four at a time.
func fire(b *testing.B, server string, qtype uint16, n int) {
	packed, err := benchQuestion(qtype).Pack()
	if err != nil {
		b.Fatal(err)
	}
	const workers = 4
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			conn, err := net.Dial("udp", server)
			if err != nil {
				b.Error(err)
				return
			}
			defer conn.Close()
			buf := make([]byte, 4096)
			for i := w; i < n; i += workers {
				if _, err := conn.Write(packed); err != nil {
					b.Error(err)
					return
				}
				if _, err := conn.Read(buf); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}
