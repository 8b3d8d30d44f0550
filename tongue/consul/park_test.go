package consul_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/door"
	"github.com/skerryhq/skerry/logstream"
	"github.com/skerryhq/skerry/node"
	"github.com/skerryhq/skerry/tongue/consul"
)

// startServer runs a server whose requests are parked at once, and returns its address.
func startServer(t *testing.T) string { return startParking(t, time.Microsecond) }

// startParking runs a server that parks requests after a while.
func startParking(t testing.TB, after time.Duration) string {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	s, err := node.New(t.Context(), node.Config{
		Self: skerry.Self{Name: "n", Datacenter: "dc1", Server: true}, Record: node.Record{Address: "127.0.0.1", ServerPort: 8300},
		Door: door.Config{HTTP: []string{"127.0.0.1:0"}}, Log: log, Stream: logstream.New(slog.DiscardHandler),
		Consul: consul.Config{ParkAfter: after, Log: log},
	}, nil, func() {})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return s.Addrs().HTTP[0]
}

// client is one connection.
type client struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func dial(t *testing.T, addr string) *client {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(time.Minute))
	return &client{t, conn, bufio.NewReader(conn)}
}

// dialWaiting returns a client whose query for web waits.
func dialWaiting(t *testing.T, addr string) *client {
	t.Helper()
	c := dial(t, addr)
	c.send(webPath)
	index, _ := c.receive()
	c.send(webPath + "?wait=60s&index=" + index)
	awaitBlocked(t, addr, 1)
	return c
}

func (c *client) send(path string) {
	c.t.Helper()
	if _, err := fmt.Fprintf(c.conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) receive() (index, body string) {
	c.t.Helper()
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		c.t.Fatalf("%s: %s %v", resp.Status, b, err)
	}
	return resp.Header.Get("X-Consul-Index"), string(b)
}

// receive404 receives the answer that there is nothing.
func (c *client) receive404() {
	c.t.Helper()
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil || resp.StatusCode != 404 {
		c.t.Fatalf("%v %v", resp, err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
}

func register(t testing.TB, addr, id string) {
	t.Helper()
	u := url.URL{Scheme: "http", Host: addr, Path: "/v1/agent/service/register"}
	req, _ := http.NewRequest("PUT", u.String(), strings.NewReader(`{"Name":"web","ID":"`+id+`"}`))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}

const webPath = "/v1/health/service/web"

func TestParkedRequestIsAnsweredAndItsConnectionGoesOn(t *testing.T) {
	addr := startServer(t)
	register(t, addr, "web-1")
	c := dial(t, addr)
	c.send(webPath)
	index, _ := c.receive()
	for round := 2; round < 6; round++ {
		c.send(webPath + "?wait=60s&index=" + index)
		awaitBlocked(t, addr, 1)
		id := fmt.Sprintf("web-%d", round)
		register(t, addr, id)
		next, body := c.receive()
		if next == index || !strings.Contains(body, id) {
			t.Fatalf("round %d: index %s after %s, body %s", round, next, index, body)
		}
		index = next
	}
}

func TestParkedRequestTimesOut(t *testing.T) {
	addr := startServer(t)
	register(t, addr, "web-1")
	c := dial(t, addr)
	c.send(webPath)
	index, _ := c.receive()
	c.send(webPath + "?wait=30ms&index=" + index)
	if again, body := c.receive(); again != index || !strings.Contains(body, "web-1") {
		t.Fatalf("index %s, then %s: %s", index, again, body)
	}
}

func TestParkedClientThatGoesIsForgotten(t *testing.T) {
	addr := startServer(t)
	register(t, addr, "web-1")
	c := dialWaiting(t, addr)
	c.conn.Close()
	awaitBlocked(t, addr, 0)
}

func TestEarlyRequestBehindAParkedOne(t *testing.T) {
	addr := startServer(t)
	register(t, addr, "web-1")
	c := dialWaiting(t, addr)
	c.send("/v1/status/leader")
	register(t, addr, "web-2")
	if _, body := c.receive(); !strings.Contains(body, "web-2") {
		t.Fatalf("first answer: %s", body)
	}
	if _, body := c.receive(); !strings.Contains(body, "8300") {
		t.Fatalf("second answer: %s", body)
	}
}

func TestStopDropsParkedRequests(t *testing.T) {
	var c *client
	t.Run("server", func(t *testing.T) {
		addr := startServer(t)
		register(t, addr, "web-1")
		c = dialWaiting(t, addr)
		c.t = nil
		t.Cleanup(func() {}) // the server stops before the connection is closed by us
	})
	if _, err := c.r.ReadByte(); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("the connection is still open: %v", err)
	}
}

// awaitBlocked waits until so many requests wait.
func awaitBlocked(t *testing.T, addr string, n int) {
	t.Helper()
	want := fmt.Sprintf("skerry_http_blocking_queries %d\n", n)
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		resp, err := http.Get("http://" + addr + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if strings.Contains(string(b), want) {
			return
		}
	}
	t.Fatalf("never saw %s", want)
}

// Those who wait for the same change each get the answer to what they asked, and one
// that does not read holds up nobody.
func TestParkedTogether(t *testing.T) {
	addr := startServer(t)
	for i := range 300 { // an answer larger than a small socket takes
		register(t, addr, fmt.Sprintf("web-%d", i))
	}
	paths := []string{webPath + "?", webPath + "?passing&", webPath + "?tag=none&", webPath + "?filter=Service.ID==%22web-7%22&", "/v1/catalog/service/web?", webPath + "?near=_agent&"}
	first := dial(t, addr)
	first.send(webPath)
	index, _ := first.receive()
	slow := dial(t, addr)
	slow.conn.(*net.TCPConn).SetReadBuffer(4096)
	slow.send(webPath + "?wait=60s&index=" + index)
	var clients []*client
	for range 10 {
		for _, p := range paths {
			c := dial(t, addr)
			c.send(p + "wait=60s&index=" + index)
			clients = append(clients, c)
		}
	}
	awaitBlocked(t, addr, len(clients)+1)
	register(t, addr, "web-new")
	for i, c := range clients {
		next, body := c.receive()
		if next == index {
			t.Errorf("%s: woken with the index that it had", paths[i%len(paths)])
		}
		c.send(strings.TrimRight(paths[i%len(paths)], "?&"))
		if _, want := c.receive(); body != want {
			t.Errorf("%s: parked with others it is answered %d bytes, alone %d", paths[i%len(paths)], len(body), len(want))
		}
	}
	_, body := slow.receive()
	first.send(webPath)
	if _, want := first.receive(); body != want {
		t.Errorf("who reads slowly got %d bytes, want %d", len(body), len(want))
	}
	awaitBlocked(t, addr, 0)
}
