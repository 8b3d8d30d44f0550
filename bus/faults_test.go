package bus_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry/bus"
)

// numbered checks that the numbers of a sender's frames grow.
type numbered struct {
	t testing.TB

	mu    sync.Mutex
	last  map[string]uint64
	count map[string]int
}

func newNumbered(t testing.TB) *numbered {
	return &numbered{t: t, last: map[string]uint64{}, count: map[string]int{}}
}

func (n *numbered) receive(from string, frame []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	number := binary.BigEndian.Uint64(frame)
	if number <= n.last[from] {
		n.t.Errorf("%d of %s came after %d", number, from, n.last[from])
	}
	n.last[from] = number
	n.count[from]++
}

func (n *numbered) of(from string) (last uint64, count int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.last[from], n.count[from]
}

// sender sends numbered frames of a size until its end.
type sender struct {
	sent atomic.Uint64
	quit chan struct{}
	done sync.WaitGroup
}

func sending(t testing.TB, b *bus.Bus, to string, size int, pause time.Duration) *sender {
	s := &sender{quit: make(chan struct{})}
	frame := make([]byte, size)
	s.done.Go(func() {
		for {
			select {
			case <-s.quit:
				return
			default:
			}
			binary.BigEndian.PutUint64(frame, s.sent.Add(1))
			if err := b.Send(to, frame); err != nil {
				t.Error(err)
				return
			}
			time.Sleep(pause)
		}
	})
	t.Cleanup(s.end)
	return s
}

func (s *sender) end() {
	select {
	case <-s.quit:
	default:
		close(s.quit)
	}
	s.done.Wait()
}

// A receive that hangs neither stops others nor grows memory, and goes on in order.
func TestABlockedReceive(t *testing.T) {
	reg := prometheus.NewRegistry()
	atB, atC := newNumbered(t), newNumbered(t)
	hang := make(chan struct{})
	cfg := config("b")
	cfg.Registerer = reg
	b := start(t, cfg, func(from string, frame []byte) { <-hang; atB.receive(from, frame) })
	release := sync.OnceFunc(func() { close(hang) })
	t.Cleanup(release)
	a := start(t, config("a", b.Addr()), ignore)
	c := start(t, config("c", b.Addr()), atC.receive)
	know(t, a, b, c)
	const size, limit = 10 << 10, 1 << 20
	b.LimitReceived(limit)
	s := sending(t, a, "", size, time.Millisecond)
	eventually(t, "frames are dropped at b", func() bool { return value(reg, "skerry_bus_dropped_total", "receive_queue") > 20 })
	if n := value(reg, "skerry_bus_frames_total", "received"); n > limit/size+2 {
		t.Errorf("%v frames wait at b", n)
	}
	before, _ := atC.of("a")
	eventually(t, "c gets frames", func() bool { last, _ := atC.of("a"); return last > before+20 })
	release()
	eventually(t, "b goes on", func() bool { last, _ := atB.of("a"); return last > before })
	s.end()
}

// A server whose sockets fill is cut off after a while. Others get their frames meanwhile,
// and what waits for it is bounded.
func TestAStuckRoute(t *testing.T) {
	const size = 10 << 10
	pa, pb := newProxy(t), newProxy(t)
	atB, atC := newNumbered(t), newNumbered(t)
	cfg := config("a")
	a := pa.behind(t, cfg, ignore)
	cfg.Self, cfg.Peers = "c", []string{a.Addr()}
	c := start(t, cfg, atC.receive)
	cfg.Self, cfg.Peers = "b", []string{pa.addr()}
	b := pb.behind(t, cfg, atB.receive)
	know(t, a, b, c)
	s := sending(t, a, "", size, 500*time.Microsecond)
	eventually(t, "b gets frames", func() bool { _, n := atB.of("a"); return n > 10 })

	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	begun := time.Now()
	pa.stick(true)
	pb.stick(true)
	var most uint64
	var slowest time.Duration
	last, since := uint64(0), time.Now()
	eventually(t, "the route is cut", func() bool {
		runtime.ReadMemStats(&now)
		most = max(most, now.HeapAlloc)
		if n, _ := atC.of("a"); n != last {
			slowest = max(slowest, time.Since(since))
			last, since = n, time.Now()
		}
		return a.Status().Routes == 1
	})
	t.Logf("cut after %v, %d MB were sent, the heap grew by %d MB at most, c waited for %v at most", time.Since(begun).Round(time.Millisecond),
		s.sent.Load()*size>>20, int64(most-before.HeapAlloc)>>20, slowest.Round(time.Millisecond))

	pa.stick(false)
	pb.stick(false)
	lost, _ := atB.of("a")
	eventually(t, "b gets frames again", func() bool { n, _ := atB.of("a"); return n > lost+10 })
	s.end()
	sent := s.sent.Load()
	eventually(t, "c has the last frame", func() bool { n, _ := atC.of("a"); return n == sent })
	if _, n := atC.of("a"); n != int(sent) {
		t.Errorf("c got %d of %d frames", n, sent)
	}
}

// A route that breaks costs some frames, never their order.
func TestACutRoute(t *testing.T) {
	pa, pb := newProxy(t), newProxy(t)
	atA, atB := newNumbered(t), newNumbered(t)
	a := pa.behind(t, config("a"), atA.receive)
	b := pb.behind(t, config("b", pa.addr()), atB.receive)
	know(t, a, b)
	toB, toA := sending(t, a, "b", 100, 50*time.Microsecond), sending(t, b, "", 1000, 50*time.Microsecond)
	for range 3 {
		seenA, _ := atA.of("b")
		seenB, _ := atB.of("a")
		eventually(t, "frames come", func() bool {
			nowA, _ := atA.of("b")
			nowB, _ := atB.of("a")
			return nowA > seenA+100 && nowB > seenB+100
		})
		pa.cut(true)
		pb.cut(true)
		eventually(t, "the routes are gone", func() bool { return a.Status().Routes == 0 && b.Status().Routes == 0 })
		pa.cut(false)
		pb.cut(false)
	}
	seenA, _ := atA.of("b")
	seenB, _ := atB.of("a")
	eventually(t, "frames come again", func() bool {
		nowA, _ := atA.of("b")
		nowB, _ := atB.of("a")
		return nowA > seenA && nowB > seenB
	})
	toB.end()
	toA.end()
}

// The first and the third have found each other by the second. They do so again after a cut
// between them, also when the second is gone.
func TestACutThatHeals(t *testing.T) {
	pa, pc := newProxy(t), newProxy(t)
	a := pa.behind(t, config("a"), ignore)
	b := start(t, config("b", pa.addr()), ignore)
	c := pc.behind(t, config("c", b.Addr()), ignore)
	know(t, a, b, c)
	b.Close()
	pa.cut(true)
	pc.cut(true)
	eventually(t, "the routes are gone", func() bool { return a.Status().Routes == 0 && c.Status().Routes == 0 })
	eventually(t, "attempts in the cut fail", func() bool { return pa.refused() > 2 && pc.refused() > 2 })
	pa.cut(false)
	pc.cut(false)
	begun := time.Now()
	eventually(t, "they find each other", func() bool { return a.Status().Routes == 1 && c.Status().Routes == 1 })
	t.Logf("after %v", time.Since(begun).Round(time.Millisecond))
}

// Programs that speak something else on the port, or nothing, are cut off, and change
// nothing for others.
func TestStrangersOnThePort(t *testing.T) {
	var log testlogger
	cfg := config("a")
	cfg.Log = log.logger()
	a := start(t, cfg, ignore)
	b := start(t, config("b", a.Addr()), ignore)
	know(t, a, b)
	for _, text := range []string{
		"", // silence
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
		strings.Repeat("x", 100_000),
		"CONNECT {\"lang\":\"go\",\"verbose\":false}\r\nPING\r\nPUB skerry.dc1.all.evil 1\r\nx\r\n",
		"CONNECT {\"cluster\":\"other\"}\r\nINFO {\"server_id\":\"x\",\"cluster\":\"other\"}\r\n",
		"INFO {\"server_id\":\"x\r\n",
		"RMSG $G skerry.dc1.all.evil 99999999999999999999\r\n",
		"PING\r\nPONG\r\n",
	} {
		conn, err := net.Dial("tcp", a.Addr())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, text)
		conn.SetReadDeadline(time.Now().Add(patience))
		for r := bufio.NewReader(conn); ; {
			if _, err := r.ReadByte(); err != nil {
				if err, ok := err.(net.Error); ok && err.Timeout() {
					t.Errorf("a program that says %.20q is not cut off", text)
				}
				break
			}
		}
		conn.Close()
	}
	for range 50 { // a port scan
		if conn, err := net.Dial("tcp", a.Addr()); err == nil {
			fmt.Fprint(conn, "GET / HTTP/1.1\r\n\r\n")
			conn.Close()
		}
	}
	if peers := a.Peers(); len(peers) != 1 || a.Status().Routes != 1 {
		t.Errorf("a hears %v", peers)
	}
	if n := log.Count("level=WARN"); n > 20 {
		t.Errorf("%d warnings:\n%s", n, log.String())
	}
	t.Logf("%s", log.String())
}

// New routes are made without loss for those that exist.
func TestAddPeersLosesNothing(t *testing.T) {
	at := newNumbered(t)
	a := start(t, config("a"), at.receive)
	b := start(t, config("b", a.Addr()), ignore)
	know(t, a, b)
	s := sending(t, b, "a", 1000, 100*time.Microsecond)
	for port := 1; port <= 20; port++ {
		seen, _ := at.of("b")
		a.AddPeers(fmt.Sprintf("127.0.0.1:%d", port))
		b.AddPeers(fmt.Sprintf("127.0.0.1:%d", port))
		eventually(t, "frames come", func() bool { n, _ := at.of("b"); return n > seen })
	}
	s.end()
	sent := s.sent.Load()
	eventually(t, "the last frame is there", func() bool { n, _ := at.of("b"); return n == sent })
	if _, n := at.of("b"); n != int(sent) {
		t.Errorf("%d of %d frames came", n, sent)
	}
}
