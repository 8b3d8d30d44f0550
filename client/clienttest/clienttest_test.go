package clienttest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerryhq/skerry/client"
	"github.com/skerryhq/skerry/client/clienttest"
	"github.com/skerryhq/skerry/client/sourcetest"
)

// A program that watches goes through the script of a bad hour.
func TestPlay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &clienttest.Manual{}
		c := client.New(m, client.WithCacheDir(""))
		defer c.Close()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go m.Play(ctx,
			clienttest.Step{Do: clienttest.Lists("orders", "a:1", "b:1")},
			clienttest.Step{After: time.Second, Do: clienttest.Down("orders")},
			clienttest.Step{After: time.Hour, Do: clienttest.Lost("orders")},
			clienttest.Step{After: time.Minute, Do: clienttest.Lists("orders", "b:1", "c:1")},
			clienttest.Step{After: time.Hour, Do: func(*clienttest.Manual) { t.Error("played on after the end") }},
		)
		r, err := c.Register(client.Instance{Service: "web", Address: "10.0.0.1:1"}, client.WithReady(func(context.Context) error { return nil }))
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		var seen []string
		for s := range c.Watch(ctx, "orders") {
			seen = append(seen, fmt.Sprintf("%v %v [%s] held %d", time.Since(began), s.Freshness, sourcetest.Addresses(s.Instances), s.Held))
			if s.Freshness == client.Frozen {
				time.Sleep(2 * time.Second)
				if err := r.Err(); !errors.Is(err, clienttest.ErrDown) {
					t.Errorf("registered while the registry is down: %v", err)
				}
			}
			if len(seen) == 4 {
				break
			}
		}
		cancel()
		want := []string{"0s live [a:1 b:1] held 0", "1s frozen [a:1 b:1] held 0", "1h0m1s live [a:1 b:1] held 2", "1h1m1s live [a:1 b:1 c:1] held 1"}
		if fmt.Sprint(seen) != fmt.Sprint(want) {
			t.Errorf("seen %q\nwant %q", seen, want)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A program's own test: what it does while the registry is dead.
func ExampleManual() {
	m := &clienttest.Manual{}
	c := client.New(m, client.WithCacheDir(""))
	defer c.Close()
	m.Set("orders", "10.0.0.1:80", "10.0.0.2:80")
	for s := range c.Watch(context.Background(), "orders") {
		fmt.Println(s.Freshness, len(s.Instances))
		if s.Freshness == client.Frozen {
			break
		}
		m.Fail("orders", clienttest.ErrDown)
	}
	// Output:
	// live 2
	// frozen 2
}
