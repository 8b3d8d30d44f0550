package consul_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Clients that go while they wait, each for a key of its own, leave nothing behind: in
// net/http, where the request waits at first, nor parked.
func TestTheAbandonedLeaveAtOnce(t *testing.T) {
	for _, c := range []struct {
		name  string
		after time.Duration // until a request is parked
	}{{"parked", time.Microsecond}, {"waiting", time.Hour}} {
		t.Run(c.name, func(t *testing.T) {
			addr := startParking(t, c.after)
			settled := func(most int) (n int) {
				for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
					if n = runtime.NumGoroutine(); n <= most {
						break
					}
				}
				return n
			}
			first := dial(t, addr) // what is made once is there before the count
			first.send("/v1/kv/first?recurse&stale&index=900&wait=10ms")
			first.receive404()
			awaitBlocked(t, addr, 0)
			before := runtime.NumGoroutine()
			const many = 100
			var clients []*client
			for i := range many {
				one := dial(t, addr)
				flag := [...]string{"recurse", "keys", "stale"}[i%3]
				one.send(fmt.Sprintf("/v1/kv/%d/%s?stale&%s&index=900&wait=9m", i, strings.Repeat("k", 2000), flag))
				clients = append(clients, one)
			}
			awaitBlocked(t, addr, many)
			for c.after < time.Second && parkedNow() < many {
				runtime.Gosched()
			}
			for _, one := range clients {
				one.conn.Close()
			}
			awaitBlocked(t, addr, 0)
			if n := settled(before + 5); n > before+5 {
				buf := make([]byte, 1<<20)
				t.Errorf("%d goroutines are there, %d were before %d waited\n%.4000s", n, before, many, buf[:runtime.Stack(buf, true)])
			}
		})
	}
}

// parkedNow returns how many requests are parked in this process.
func parkedNow() int {
	buf := make([]byte, 4<<20)
	return strings.Count(string(buf[:runtime.Stack(buf, true)]), "park.(*parking).run(")
}
