package kinds

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/check"
)

// A thousand checks of a server that takes connections and never answers do not
// keep another server's death from being seen.
func TestDeathIsSeenBesideHungChecks(t *testing.T) {
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	alive := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer alive.Close()

	victim := make(chan skerry.Health, 100)
	r := check.NewRunner(check.Config{Kinds: table, Report: func(id string, r check.Result) {
		if id == "victim" {
			victim <- r.Status
		}
	}})
	defer r.Close()
	var wg sync.WaitGroup
	for i := range 1000 {
		wg.Go(func() {
			d := def{HTTP: fmt.Sprintf("http://%s/%d", mute.Addr(), i), Interval: time.Second, Timeout: 10 * time.Minute}
			if err := r.Start(fmt.Sprint(i), &d, check.State{Service: "hog"}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	d := def{HTTP: alive.URL, Interval: time.Second, Timeout: time.Second}
	if err := r.Start("victim", &d, check.State{Service: "web"}); err != nil {
		t.Fatal(err)
	}
	wait := func(want skerry.Health) {
		t.Helper()
		began := time.Now()
		select {
		case got := <-victim:
			if got != want {
				t.Fatalf("the state is %s, want %s", got, want)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("not seen %s within 30 s", want)
		}
		if took := time.Since(began); took > 5*time.Second { // interval and timeout make 2 s
			t.Errorf("seen %s after %v", want, took)
		}
	}
	wait(skerry.Passing)
	alive.Close()
	wait(skerry.Critical)
}

// What a run may hang with is named the same by all kinds.
func TestPeers(t *testing.T) {
	for want, ds := range map[string][]def{
		"a:80":            {{HTTP: "http://a/health"}, {HTTP: "http://u:p@a:80/x?y"}, {TCP: "a:80"}, {UDP: "a:80"}, {GRPC: "a:80/svc"}, {GRPC: "a:80"}, {H2PING: "a:80"}},
		"a:443":           {{HTTP: "https://a"}},
		"[::1]:8080":      {{HTTP: "http://[::1]:8080/"}, {TCP: "[::1]:8080"}},
		"script a b":      {{Args: []string{"a", "b"}}},
		"docker docker c": {{DockerContainerID: "c", Args: []string{"a"}}},
		"systemd":         {{OSService: "a"}, {OSService: "b"}},
	} {
		for _, d := range ds {
			name, _ := table.KindOf(&d)
			got := ""
			for _, k := range table {
				if k.Name == name {
					for i, p := range k.Peers(&d) {
						if i > 0 {
							got += " "
						}
						got += p
					}
				}
			}
			if got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
	}
}

// Every kind that contacts a peer names it.
func TestKindsHavePeers(t *testing.T) {
	for _, k := range table {
		if k.Timeout > 0 && k.Peers == nil {
			t.Errorf("%s has no Peers", k.Name)
		}
	}
}
