package link_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skerryhq/skerry/link"
)

func TestIntroduction(t *testing.T) {
	want := link.Introduction{Name: "s1", ID: "b0b8d4f5-0d5c-4f3e-9f3a-2f1c1e2d3c4b", Datacenter: "dc1", Bus: 8302, Quorum: 8301}
	l, err := link.Listen("127.0.0.1:0", link.Config{Self: want, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		if err := l.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	if got, err := link.NewDialer("x", nil).Ask(t.Context(), l.Addr()); err != nil || got != want {
		t.Errorf("the introduction is %+v, %v", got, err)
	}
	stop()
	done.Wait()
	if _, err := link.NewDialer("x", nil).Ask(t.Context(), l.Addr()); err == nil {
		t.Error("a listener that has ended answers")
	}
}

// A program that is no Skerry server is told from one.
func TestAskRefuses(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"not found":    http.NotFound,
		"not JSON":     func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") },
		"without name": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{}") },
		"endless":      func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, strings.Repeat(" ", 1<<20)+"{}") },
		"elsewhere":    func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/other", http.StatusFound) },
	} {
		s := httptest.NewServer(handler)
		if i, err := link.NewDialer("x", nil).Ask(t.Context(), s.Listener.Addr().String()); err == nil || !strings.Contains(err.Error(), "ports.server") {
			t.Errorf("%s: %+v, %v", name, i, err)
		}
		s.Close()
	}
	if _, err := link.NewDialer("x", nil).Ask(t.Context(), "a b"); err == nil {
		t.Error("an address with a space is asked")
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := link.NewDialer("x", nil).Ask(ctx, silent.Addr().String()); err == nil {
		t.Error("a server that does not answer introduces itself")
	}
}
