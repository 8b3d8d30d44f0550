package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/skerryhq/skerry/client"
	"github.com/skerryhq/skerry/client/clienttest"
	"github.com/skerryhq/skerry/client/lb"
)

func TestExplain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &clienttest.Manual{}
		c := client.New(m, client.WithCacheDir(""))
		defer c.Close()
		if e := c.Explain(); len(e.Services)+len(e.Registrations) != 0 {
			t.Errorf("at first: %+v", e)
		}
		web := watch(t, c, "web")
		m.Set("web", "a:1", "b:1", "c:1")
		<-web
		m.Set("web", "a:1")
		<-web
		m.Fail("web", errDown)
		<-web
		watch(t, c, "db")
		p := lb.New(lb.Options{})
		p.Update(0, []lb.Node{{Key: "a:1"}})
		detach := c.Attach("web", "test", func() []lb.State { return p.States(0) })
		ready := client.WithReady(func(context.Context) error { return nil })
		good, err := c.Register(client.Instance{Service: "db", Address: "10.0.0.1:1"}, ready)
		if err != nil {
			t.Fatal(err)
		}
		<-good.Registered()
		waiting, err := c.Register(client.Instance{Service: "web", Address: "10.0.0.1:2"}, client.WithReady(func(context.Context) error { return errors.New("still loading") }))
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		e := c.Explain()
		text, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if len(e.Services) != 2 || len(e.Registrations) != 2 {
			t.Fatalf("%s", text)
		}
		db, svc := e.Services[0], e.Services[1]
		if db.Service != "db" || !db.Known || len(db.Instances) != 1 || db.Error != "" {
			t.Errorf("db: %s", text)
		}
		if !svc.Known || svc.Freshness != client.Frozen || svc.Error != errDown.Error() || svc.Held != 2 || len(svc.Instances) != 3 || svc.Since.IsZero() {
			t.Errorf("web: %s", text)
		}
		if len(svc.Balancers) != 1 || svc.Balancers[0].Name != "test-1" || svc.Balancers[0].Instances[0].Key != "a:1" {
			t.Errorf("balancers: %s", text)
		}
		if r := e.Registrations[0]; !r.Registered || r.Instance.ID != "db-10.0.0.1:1" || r.Error != "" {
			t.Errorf("registered: %s", text)
		}
		if r := e.Registrations[1]; r.Registered || !strings.Contains(r.Error, "still loading") {
			t.Errorf("not registered: %s", text)
		}
		if !strings.Contains(string(text), `"freshness":"frozen"`) {
			t.Errorf("in JSON: %s", text)
		}
		detach()
		if err := waiting.Close(); err != nil {
			t.Fatal(err)
		}
		if err := good.Close(); err != nil {
			t.Fatal(err)
		}
		if e := c.Explain(); len(e.Services[1].Balancers) != 0 || len(e.Registrations) != 0 {
			t.Errorf("after detach and Close: %+v", e)
		}
	})
}
