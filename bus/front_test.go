package bus_test

import (
	"crypto/tls"
	"net"
	"strings"
	"testing"

	"github.com/skerryhq/skerry/bus"
)

// A server that is moved to TLS reaches each other one, whoever dials. One with TLS and one without do not reach each other.
func TestRoutesWhileServersMoveToTLS(t *testing.T) {
	node, stranger := tlsConfig(t)
	with := func(name string, tls *tls.Config, mixed bool, peers ...string) bus.Config {
		cfg := config(name, peers...)
		cfg.TLS, cfg.Mixed = tls, mixed
		return cfg
	}
	got := make(chan string, 100)
	note := func(from string, frame []byte) { got <- from + " " + string(frame) }
	mixed := start(t, with("moved", node, true), note)
	plain := start(t, with("plain", nil, false, mixed.Addr()), ignore)
	secure := start(t, with("secure", node, false, mixed.Addr()), ignore)
	second := start(t, with("second", node, true, mixed.Addr()), ignore)
	eventually(t, "all reach the first", func() bool { return len(mixed.Peers()) == 3 && len(second.Peers()) == 3 })

	later := start(t, with("later", node, true, plain.Addr(), secure.Addr()), ignore)
	eventually(t, "the later one reaches all", func() bool { return len(later.Peers()) == 4 })
	for name, b := range map[string]*bus.Bus{"plain": plain, "secure": secure, "second": second, "later": later} {
		if err := b.Send("moved", []byte("hello")); err != nil {
			t.Fatal(err)
		}
		if frame := <-got; frame != name+" hello" {
			t.Errorf("%q is not of %s", frame, name)
		}
	}
	for name, b := range map[string]*bus.Bus{"plain": plain, "secure": secure} {
		if peers := b.Peers(); len(peers) != 3 {
			t.Errorf("%s hears %v", name, peers)
		}
	}

	refused := start(t, with("stranger", stranger, false, mixed.Addr()), ignore)
	conn, err := net.Dial("tcp", mixed.Addr())
	if err != nil {
		t.Fatal(err)
	}
	conn.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
	eventually(t, "what is no route is cut off", func() bool {
		_, err := conn.Read(make([]byte, 1024))
		return err != nil
	})
	conn.Close()
	if n := len(refused.Peers()); n > 0 {
		t.Errorf("a stranger with another certificate hears %d", n)
	}

	// The plain one comes back with TLS at its address, and then the first without plain routes.
	comes := with("plain", node, false, second.Addr())
	comes.Listen = plain.Addr()
	plain.Close()
	back := start(t, comes, ignore)
	eventually(t, "it reaches all", func() bool { return len(back.Peers()) == 4 })
	addr := mixed.Addr()
	mixed.Close()
	alone := with("moved", node, false)
	alone.Listen = addr
	only := start(t, alone, note)
	eventually(t, "the others reach the first again", func() bool { return len(only.Peers()) == 4 })
	if conn, err = net.Dial("tcp", addr); err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.Write([]byte("CONNECT {}\r\nPING\r\n"))
	text := make([]byte, 1024)
	n, _ := conn.Read(text)
	if strings.Contains(string(text[:n]), "INFO") {
		t.Errorf("a plain route is answered: %q", text[:n])
	}
}
