package nacos

import (
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/skerryhq/skerry/client"
	"github.com/skerryhq/skerry/client/nacos/nacostest"
	"github.com/skerryhq/skerry/client/sourcetest"
)

func TestLogin(t *testing.T) {
	t.Parallel()
	server := nacostest.Start(t, nacostest.Options{User: "nacos", Password: "pa/ss"})
	server.Put("", "", "orders", lasting("10.0.0.1"))
	s := source(t, "nacos://nacos:pa%2Fss@"+server.Addr())
	tell := sourcetest.Watch(t, s, "orders")
	list(t, tell, "10.0.0.1:80")
	_, reports := announce(t, s, client.Instance{ID: "1", Service: "web", Address: "10.0.0.1:80"})
	if err := <-reports; err != nil {
		t.Error(err)
	}
	// A token that is void is replaced without a word.
	server.Revoke()
	for u := range s.Watch(t.Context(), "web") {
		if sourcetest.Addresses(u.Instances) != "10.0.0.1:80" {
			t.Errorf("with a new token: %+v", u)
		}
		break
	}
	for user, want := range map[string]string{"": "code 403: user not found!", "nacos:wrong@": "login: http://" + server.Addr() + "/nacos/v1/auth/users/login: 403 Forbidden: unknown user!"} {
		u := <-sourcetest.Watch(t, source(t, "nacos://"+user+server.Addr()), "orders")
		if u.Err == nil || !strings.Contains(u.Err.Error(), want) || strings.Contains(u.Err.Error(), "wrong") {
			t.Errorf("as %q: told %v, want %s", user, u, want)
		}
		_, reports := announce(t, source(t, "nacos://"+user+server.Addr()), client.Instance{ID: "1", Service: "web", Address: "10.0.0.9:80"})
		if err := <-reports; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("as %q: reported %v, want %s", user, err, want)
		}
	}
	for len(tell) > 0 {
		if u := <-tell; u.Err != nil {
			t.Errorf("told %v", u.Err)
		}
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	web := httptest.NewTLSServer(nil) // for its certificate
	web.Close()
	server := nacostest.Start(t, nacostest.Options{User: "nacos", Password: "nacos", TLS: web.TLS})
	server.Put("", "", "orders", lasting("10.0.0.1"))
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	at := "nacos://nacos:nacos@" + server.Addr()
	list(t, sourcetest.Watch(t, source(t, at+"/?ca="+ca), "orders"), "10.0.0.1:80")
	list(t, sourcetest.Watch(t, source(t, at+"/?skip-verify=true"), "orders"), "10.0.0.1:80")
	failure(t, sourcetest.Watch(t, source(t, at+"/?tls=true"), "orders"))
	failure(t, sourcetest.Watch(t, source(t, at), "orders"))
}

// A Nacos that is not there delays no start, and is found when it comes.
func TestStartsBeforeNacos(t *testing.T) {
	t.Parallel()
	server := nacostest.Start(t, nacostest.Options{User: "nacos", Password: "nacos"})
	server.Stop()
	began := time.Now()
	s := source(t, "nacos://nacos:nacos@"+server.Addr())
	tell := sourcetest.Watch(t, s, "orders")
	if err := failure(t, tell); !unreachable(err) {
		t.Errorf("told %v", err)
	}
	_, reports := announce(t, s, client.Instance{ID: "1", Service: "orders", Address: "10.0.0.1:80"})
	if err := <-reports; !unreachable(err) {
		t.Errorf("reported %v", err)
	}
	if took := time.Since(began); took > 6*time.Second {
		t.Errorf("it takes %v to say that nobody is there", took)
	}
	server.Restart(t)
	list(t, tell, "10.0.0.1:80")
}

// unreachable reports whether an error says that no server is there. A listener that closes resets
// the connections that it has not accepted.
func unreachable(err error) bool {
	return err != nil && (strings.Contains(err.Error(), "connection refused") || strings.Contains(err.Error(), "connection reset"))
}

func TestParameters(t *testing.T) {
	notPEM := filepath.Join(t.TempDir(), "ca")
	if err := os.WriteFile(notPEM, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for rest, want := range map[string]string{
		"h/?nonsense=1":                 `unknown parameter "nonsense"`,
		"h/?group=a@@b":                 "group=",
		"h/?group=":                     "group=",
		"h/?tls=x":                      "want true or false",
		"h/?ca=/nowhere":                "ca:",
		"h/?cert=a":                     "belong together",
		"h/?cert=/none&key=/none":       "cert:",
		"h/?ca=" + notPEM:               "holds no certificate",
		"h:x":                           "want a port up to 64535",
		"h:64536":                       "want a port up to 64535",
		"h:0":                           "want a port up to 64535",
		"h/?namespace=&group=g&tls=0":   "",
		"u:p@h/path/?skip-verify=true":  "",
		"u@h:64535/?cluster=a,b&tls=on": "want true or false",
		"":                              "",
	} {
		_, err := client.OpenSource("nacos://" + rest)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", rest, err, want)
		}
	}
	s := source(t, "nacos://u:p@h1,h2:1,[::1],[::2]:2/base")
	var got []string
	for _, server := range s.servers {
		got = append(got, server.grpc())
	}
	if strings.Join(got, " ") != "h1:9848 h2:1001 [::1]:9848 [::2]:1002" {
		t.Errorf("hosts %+v", s.servers)
	}
	if s.login.urls[2] != "http://[::1]:8848/base/v1/auth/users/login" {
		t.Errorf("login at %s", s.login.urls[2])
	}
}

// The first host is dead, and the one that answers dies: the other takes over.
func TestSeveralHosts(t *testing.T) {
	t.Parallel()
	dead, one, other := nacostest.Start(t, nacostest.Options{}), nacostest.Start(t, nacostest.Options{}), nacostest.Start(t, nacostest.Options{})
	dead.Stop()
	began := time.Now()
	s := source(t, "nacos://"+dead.Addr()+","+one.Addr()+","+other.Addr())
	announce(t, s, client.Instance{ID: "1", Service: "orders", Address: "10.0.0.1:80"})
	announce(t, s, client.Instance{ID: "2", Service: "orders", Address: "10.0.0.1:80"})
	tell := sourcetest.Watch(t, s, "orders")
	sourcetest.Until(t, tell, within, "a list", func(u sourcetest.Told) bool { return u.Err == nil })
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("with one dead host it takes %v", took)
	}
	one.Stop()
	list(t, tell, "10.0.0.1:80 10.0.0.1:80")
}
