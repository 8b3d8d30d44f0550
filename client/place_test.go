package client_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerryhq/skerry/client"
	"github.com/skerryhq/skerry/client/clienttest"
	"github.com/skerryhq/skerry/client/sourcetest"
)

// A service that has its name in two registries has two lists on the disk; who asks for
// it there makes no difference.
func TestColdStartOfTwoRegistries(t *testing.T) {
	dir := t.TempDir()
	registries := map[string]*clienttest.Manual{"a": {}, "b": {}}
	client.RegisterScheme("test-place", func(l client.Location) (client.Source, error) { return registries[l.Hosts[0]], nil })
	list := func(t *testing.T, url string) string {
		c, err := client.Open(url, client.WithCacheDir(dir))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		s := <-watch(t, c, "web")
		time.Sleep(2 * time.Second)
		return sourcetest.Addresses(s.Instances)
	}
	for _, down := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			for host := range registries {
				m := &clienttest.Manual{}
				if registries[host] = m; down {
					m.Fail("web", errDown)
				} else {
					m.Set("web", host+":1")
				}
			}
			for host := range registries {
				if got := list(t, "test-place://user:one@"+host+"/?token=1"); got != host+":1" {
					t.Errorf("of %s, down: %v, the list is %s", host, down, got)
				}
				if got := list(t, "test-place://user:two@"+host+"/?token=2"); got != host+":1" {
					t.Errorf("of %s as another user, down: %v, the list is %s", host, down, got)
				}
			}
		})
	}
}
