package consul_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// inner is a whole request that a client puts where a body belongs.
const inner = "PUT /v1/agent/service/register HTTP/1.1\r\nHost: x\r\nContent-Length: 19\r\n\r\n{\"Name\":\"smuggled\"}"

// smuggling are the ways to send inner as the body of a blocking query. The second
// part is sent once the query waits.
var smuggling = map[string]struct {
	header, body, late string
	refused            bool // 400, and the connection is closed
}{
	"content length":         {header: fmt.Sprintf("Content-Length: %d\r\n", len(inner)), body: inner},
	"a late body":            {header: fmt.Sprintf("Content-Length: %d\r\n", len(inner)), late: inner},
	"half a body":            {header: fmt.Sprintf("Content-Length: %d\r\n", len(inner)), body: inner[:20], late: inner[20:]},
	"a body that never ends": {header: "Content-Length: 100000\r\n", body: inner, refused: true},
	"a large body":           {header: fmt.Sprintf("Content-Length: %d\r\n", len(inner)+300_000), body: strings.Repeat(" ", 300_000) + inner, refused: true},
	"chunked":                {header: "Transfer-Encoding: chunked\r\n", body: chunk(inner) + "0\r\n\r\n"},
	"chunked, late":          {header: "Transfer-Encoding: chunked\r\n", late: chunk(inner) + "0\r\n\r\n"},
	"chunked, last late":     {header: "Transfer-Encoding: chunked\r\n", body: chunk(inner), late: "0\r\n\r\n"},
	"chunked, empty":         {header: "Transfer-Encoding: chunked\r\n", body: "0\r\n\r\n"},
	"chunked, unfinished":    {header: "Transfer-Encoding: chunked\r\n", body: chunk(inner), refused: true},
	"chunked with a length":  {header: fmt.Sprintf("Transfer-Encoding: chunked\r\nContent-Length: %d\r\n", len(inner)), body: chunk(inner) + "0\r\n\r\n"},
	"trailers":               {header: "Transfer-Encoding: chunked\r\nTrailer: X\r\n", body: chunk(inner) + "0\r\nX: y\r\n\r\n"},
	"expect":                 {header: fmt.Sprintf("Expect: 100-continue\r\nContent-Length: %d\r\n", len(inner)), late: inner},
	"expect, sent at once":   {header: fmt.Sprintf("Expect: 100-continue\r\nContent-Length: %d\r\n", len(inner)), body: inner},
	"expect without a body":  {header: "Expect: 100-continue\r\n"},
	"a length of nothing":    {header: "Content-Length: 0\r\n"},
}

func chunk(s string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(s), s) }

// A request in the body of a blocking query is never executed nor answered. The
// request behind the body is answered, unless the connection is closed.
func TestParkedBodyIsNoRequest(t *testing.T) {
	addr := startServer(t)
	register(t, addr, "web-1")
	for name, s := range smuggling {
		t.Run(name, func(t *testing.T) {
			c := dial(t, addr)
			c.send(webPath)
			index, _ := c.receive()
			fmt.Fprintf(c.conn, "GET %s?wait=60s&index=%s HTTP/1.1\r\nHost: x\r\n%s\r\n%s", webPath, index, s.header, s.body)
			if s.refused {
				if got := c.answers(); len(got) != 1 || !strings.HasPrefix(got[0], "Invalid request body") {
					t.Errorf("answers: %q", got)
				}
				return
			}
			if s.late == "" {
				awaitBlocked(t, addr, 1)
			} else {
				time.Sleep(20 * time.Millisecond) // the query reads its body: nothing shows that
			}
			io.WriteString(c.conn, s.late)
			awaitBlocked(t, addr, 1)
			c.send("/v1/status/leader")
			register(t, addr, "web-"+strings.ReplaceAll(name, " ", "-"))
			if got := c.answers(); len(got) != 2 || !strings.Contains(got[0], `"ID":"web-1"`) || got[1] != `"127.0.0.1:8300"` {
				t.Errorf("answers: %q", got)
			}
			awaitBlocked(t, addr, 0)
		})
	}
	if c := dial(t, addr); true {
		c.send("/v1/catalog/services")
		if _, body := c.receive(); strings.Contains(body, "smuggled") {
			t.Errorf("a request in a body was executed: %s", body)
		}
	}
}

// answers reads what the server sends until it is silent for a while or closes.
func (c *client) answers() (bodies []string) {
	for {
		wait := 20 * time.Second
		if len(bodies) > 0 {
			wait = 300 * time.Millisecond
		}
		c.conn.SetReadDeadline(time.Now().Add(wait))
		resp, err := http.ReadResponse(c.r, nil)
		if err != nil {
			return bodies
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return bodies
		}
		if resp.StatusCode != http.StatusContinue {
			bodies = append(bodies, strings.TrimSpace(string(body)))
		}
	}
}

// Many requests behind a parked one are answered in their order, and a client that
// leaves is seen although it sent something.
func TestPipelinedBehindAParkedOne(t *testing.T) {
	addr := startServer(t)
	register(t, addr, "web-1")
	for _, n := range []int{1, 3, 40, 200} { // 200 are more than are read while one waits
		c := dialWaiting(t, addr)
		for i := range n {
			c.send(fmt.Sprintf("/v1/agent/service/none-%d", i))
		}
		register(t, addr, fmt.Sprintf("web-%d", n+1))
		c.receive()
		for i := range n {
			resp, err := http.ReadResponse(c.r, nil)
			if err != nil {
				t.Fatalf("answer %d of %d: %v", i, n, err)
			}
			body, _ := io.ReadAll(resp.Body)
			if want := fmt.Sprintf("none-%d", i); !strings.Contains(string(body), want) {
				t.Fatalf("answer %d of %d is %s", i, n, body)
			}
		}
	}
	c := dialWaiting(t, addr)
	c.send("/v1/status/leader")
	c.conn.Close()
	awaitBlocked(t, addr, 0)
}

// FuzzParkedConnection sends arbitrary bytes behind the head of a blocking query. No
// answer may be another than those of the query and of requests that net/http itself
// finds in the bytes, and nothing in a body may be executed.
func FuzzParkedConnection(f *testing.F) {
	for _, s := range smuggling {
		f.Add(s.header, s.body, s.late)
	}
	f.Add("", "GET /v1/status/leader HTTP/1.1\r\nHost: x\r\n\r\n", "")
	parks, waits := startFuzzed(f, time.Microsecond), startFuzzed(f, time.Hour)
	f.Fuzz(func(t *testing.T, header, body, late string) {
		if len(header)+len(body)+len(late) > 8<<10 || strings.Contains(strings.ToLower(header), "x-consul") {
			return // one query in Consul's header is not that in ours
		}
		got, want := parks.exchange(t, header, body, late), waits.exchange(t, header, body, late)
		if got != want {
			t.Fatalf("header %q, body %q, late %q:\nparked      %q\nin net/http %q", header, body, late, got, want)
		}
	})
}

// fuzzed is a server whose service web does not change.
type fuzzed struct{ addr, index string }

func startFuzzed(t testing.TB, parkAfter time.Duration) fuzzed {
	addr := startParking(t, parkAfter)
	register(t, addr, "web-1")
	resp, err := http.Get("http://" + addr + webPath)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return fuzzed{addr, resp.Header.Get("X-Consul-Index")}
}

// exchange sends a blocking query that waits for 30 ms, with what is around it, and
// returns the statuses of the answers.
func (s fuzzed) exchange(t *testing.T, header, body, late string) string {
	t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET %s?wait=30ms&index=%s HTTP/1.1\r\nHost: x\r\n%s\r\n%s", webPath, s.index, header, body)
	time.Sleep(5 * time.Millisecond) // so that it waits when the rest comes
	io.WriteString(conn, late)
	var out strings.Builder
	for r := bufio.NewReader(conn); ; {
		conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return out.String()
		}
		io.Copy(io.Discard, resp.Body)
		fmt.Fprint(&out, resp.StatusCode, " ")
	}
}
