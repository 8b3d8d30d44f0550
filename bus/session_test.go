package bus

import (
	"io"
	"log/slog"
	"testing"
)

// A connection that is closed has no number of dropped frames.
func TestCountDroppedOfAClosedConnection(t *testing.T) {
	b, err := Start(Config{Self: "a", Datacenter: "dc1", Listen: "127.0.0.1:0", Log: slog.New(slog.NewTextHandler(io.Discard, nil))}, func(string, []byte) {})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	s, err := b.connect()
	if err != nil {
		t.Fatal(err)
	}
	b.countDropped(s)
	s.conn.Close()
	b.countDropped(s)
}
