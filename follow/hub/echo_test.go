package hub_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/skerryhq/skerry/catalog"
	"github.com/skerryhq/skerry/follow"
	"github.com/skerryhq/skerry/follow/hub"
)

// echo returns the number of the next frame that is to be sent back, and how many views came before it.
func (f *follower) echo(t *testing.T) (number uint64, views int) {
	t.Helper()
	for {
		var tell follow.Tell
		if err := json.Unmarshal(<-f.tells, &tell); err != nil {
			t.Fatal(err)
		}
		if views += len(tell.Views); tell.Echo != 0 {
			return tell.Echo, views
		}
	}
}

type answer struct {
	took map[string]time.Duration
	late []string
}

// A follower acknowledges a change after the views that it was sent; one that does not is late after a second.
func TestFollowersAcknowledge(t *testing.T) {
	within(t, func(t *testing.T, ctx context.Context, table *catalog.Table, s *hub.Server) {
		answers := make(chan answer, 1)
		ask := func(service string) {
			s.Echo(service, func(took map[string]time.Duration, late []string) { answers <- answer{took, late} })
		}
		ask("web") // there is no follower
		put(t, table, 2, 1, "")
		f := serve(ctx, s)
		<-f.tells // the state
		f.follow("web")
		f.next(t)
		ask("other") // nobody follows it
		put(t, table, 2, 2, "")
		ask("Web")
		began := time.Now()
		number, views := f.echo(t)
		if views != 1 {
			t.Errorf("%d views before the question, want the change", views)
		}
		if passed := time.Since(began); passed < 2*time.Millisecond {
			t.Errorf("the question came after %v: it hurried the change", passed)
		}
		time.Sleep(30 * time.Millisecond)
		f.asks <- follow.Encode(follow.Ask{Echoes: []uint64{number, number + 7}})
		if a := <-answers; fmt.Sprint(a.took) != "map[web1:32ms]" || len(a.late) > 0 {
			t.Errorf("%+v", a)
		}
		ask("") // any follower
		began = time.Now()
		number, _ = f.echo(t)
		if a := <-answers; len(a.took) > 0 || fmt.Sprint(a.late) != "[web1]" {
			t.Errorf("without an answer: %+v", a)
		}
		if passed := time.Since(began); passed < hub.EchoWithin {
			t.Errorf("it was late after %v", passed)
		}
		f.asks <- follow.Encode(follow.Ask{Echoes: []uint64{number}}) // it has no effect
		ask("web")
		f.echo(t)
	})
}
