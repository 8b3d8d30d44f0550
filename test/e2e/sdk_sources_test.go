package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/skerryhq/skerry/client"
	_ "github.com/skerryhq/skerry/client/dns"
	_ "github.com/skerryhq/skerry/client/union"
)

// The SDK finds by DNS what is registered, all of it, and beside another registry.
func TestSDKByDNS(t *testing.T) {
	t.Parallel()
	a := start(t, map[string]any{"log_level": "warn"})
	const many = 40
	for n := range many {
		a.ok("PUT", "/v1/agent/service/register", fmt.Sprintf(`{"ID":"web%d","Name":"web","Address":"10.1.1.%d","Port":%d}`, n, n+1, 8000+n))
	}
	for _, rawURL := range []string{
		"dns://" + a.dns + "/service.consul",
		"union:///?of=dns://" + a.dns + "/service.consul&of=skerry://" + a.http,
	} {
		c, err := client.Open(rawURL, client.WithCacheDir(""), client.WithHold(time.Second))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		s := awaitList(t, c, "web", rawURL, lives(many))
		for _, i := range s.Instances {
			if i.Weight != 1 {
				t.Errorf("%+v", i)
			}
		}
		a.ok("PUT", "/v1/agent/service/deregister/web7", "")
		awaitList(t, c, "web", "one withdrawn", lives(many-1))
		a.ok("PUT", "/v1/agent/service/register", `{"ID":"web7","Name":"web","Address":"10.1.1.8","Port":8007}`)
		awaitList(t, c, "web", "back", lives(many))
	}
	c, err := client.Open("dns://"+a.dns+"/service.consul", client.WithCacheDir(""))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if s := awaitList(t, c, "web:80", "addresses", lives(many)); s.Instances[0].Address != "10.1.1.10:80" {
		t.Errorf("%+v", s.Instances[0])
	}
	a.kill()
	awaitList(t, c, "web:80", "killed", func(s client.Snapshot) bool { return s.Freshness == client.Frozen && len(s.Instances) == many })
}
