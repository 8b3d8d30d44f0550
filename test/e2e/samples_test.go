package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/skerryhq/skerry/test/program"
)

// sample runs a program until the test ends or signals it.
func sample(t testing.TB, env []string, name string, args ...string) (cmd *exec.Cmd, output func() string) {
	t.Helper()
	cmd = exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	launch(t, cmd)
	t.Cleanup(func() { log.Close() })
	return cmd, func() string {
		data, _ := os.ReadFile(log.Name())
		return string(data)
	}
}

// says waits until a sample has printed something.
func says(t testing.TB, output func() string, what string) {
	t.Helper()
	await(t, what, func() error {
		if out := output(); !strings.Contains(out, what) {
			return fmt.Errorf("not in %q", out)
		}
		return nil
	})
}

// etcd runs one member, and returns its address.
func etcd(t *testing.T) string {
	at, _ := etcdUntil(t)
	return at
}

// etcdUntil runs one member until stop is called, or the test ends.
func etcdUntil(t *testing.T) (at string, stop func()) {
	t.Helper()
	conf := embed.NewConfig()
	conf.Dir = t.TempDir()
	peer, host := url.URL{Scheme: "http", Host: local(program.Port(t))}, url.URL{Scheme: "http", Host: local(program.Port(t))}
	conf.ListenPeerUrls, conf.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	conf.ListenClientUrls, conf.AdvertiseClientUrls = []url.URL{host}, []url.URL{host}
	conf.InitialCluster = conf.InitialClusterFromName(conf.Name)
	conf.UnsafeNoFsync = true
	conf.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	e, err := embed.StartEtcd(conf)
	if err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(e.Close)
	t.Cleanup(stop)
	select {
	case <-e.Server.ReadyNotify():
	case <-time.After(patience):
		t.Fatal("etcd is not ready")
	}
	return host.Host, stop
}

// zookeeper runs one server, and returns its address.
func zookeeper(t *testing.T) string {
	t.Helper()
	classpath := "/usr/share/java/zookeeper.jar"
	if home := os.Getenv("ZOOKEEPER_HOME"); home != "" {
		classpath = filepath.Join(home, "lib", "*")
	} else if _, err := os.Stat(classpath); err != nil {
		t.Skip("there is no ZooKeeper: set ZOOKEEPER_HOME or install Debian's package zookeeper")
	}
	program.Need(t, "java")
	dir, port := t.TempDir(), program.Port(t)
	conf := filepath.Join(dir, "zoo.cfg")
	text := fmt.Sprintf("tickTime=500\ndataDir=%s\nclientPort=%d\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n4lw.commands.whitelist=ruok\n", dir, port)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	background(t, "java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", classpath, "org.apache.zookeeper.server.ZooKeeperServerMain", conf)
	await(t, "ZooKeeper", func() error {
		if !zk.FLWRuok([]string{local(port)}, time.Second)[0] {
			return errors.New("it does not serve")
		}
		return nil
	})
	return local(port)
}

// The same programs, with another URL, register and call in each registry; a server
// that is told to end under load fails no call.
func TestTimeService(t *testing.T) {
	server := program.Build(t, ".", "./examples/timeservice/server")
	caller := program.Build(t, ".", "./examples/timeservice/client")
	for _, test := range []struct {
		name string
		urls func(t *testing.T, listen []string) (registry, find string)
	}{
		{"skerry", func(t *testing.T, _ []string) (string, string) {
			u := "skerry://" + start(t, nil).http
			return u, u
		}},
		{"skerry at an agent", func(t *testing.T, _ []string) (string, string) {
			server, agent := serverAndAgent(t)
			return "skerry://" + agent.http, "skerry://" + server.http
		}},
		{"consul at an agent", func(t *testing.T, _ []string) (string, string) {
			server, agent := serverAndAgent(t)
			return "consul://" + agent.http, "consul://" + server.http
		}},
		{"consul", func(t *testing.T, _ []string) (string, string) {
			u := "consul://" + start(t, nil).http
			return u, u
		}},
		{"found by DNS", func(t *testing.T, _ []string) (string, string) {
			a := start(t, nil)
			return "skerry://" + a.http, "dns://" + a.dns + "/service.consul"
		}},
		{"etcd", func(t *testing.T, _ []string) (string, string) {
			u := "etcd://" + etcd(t)
			return u, u
		}},
		{"zookeeper", func(t *testing.T, _ []string) (string, string) {
			u := "zookeeper://" + zookeeper(t) + "/services"
			return u, u
		}},
		{"moving from etcd", func(t *testing.T, _ []string) (string, string) {
			old, now := "etcd://"+etcd(t), "skerry://"+start(t, nil).http
			return old, "union:///?of=" + old + "&of=" + now
		}},
		{"union", func(t *testing.T, _ []string) (string, string) {
			u := "union:///?of=etcd://" + etcd(t) + "&of=skerry://" + start(t, nil).http
			return u, u
		}},
		{"direct", func(_ *testing.T, listen []string) (string, string) {
			u := "direct:///" + strings.Join(listen, ",")
			return u, u
		}},
	} {
		for _, web := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s http=%v", test.name, web), func(t *testing.T) {
				t.Parallel()
				timeService(t, server, caller, web, test.urls)
			})
		}
	}
}

func timeService(t *testing.T, server, caller string, web bool, urls func(t *testing.T, listen []string) (registry, find string)) {
	listen := []string{local(program.Port(t)), local(program.Port(t)), local(program.Port(t))}
	registry, find := urls(t, listen)
	env := []string{"SKERRY_CACHE_DIR=" + t.TempDir()}
	var servers []*exec.Cmd
	var outputs []func() string
	for _, at := range listen {
		args := []string{"-registry", registry, "-listen", at}
		if web {
			args = []string{"-registry", registry, "-http", at}
		}
		cmd, output := sample(t, env, server, args...)
		servers, outputs = append(servers, cmd), append(outputs, output)
	}
	for _, output := range outputs {
		await(t, "the registrations", func() error {
			if n := strings.Count(output(), "registered=true"); n != 1 && !web || n != 2 && web {
				return errors.New(output())
			}
			return nil
		})
	}
	calls, output := sample(t, env, caller, "-registry", find, "-rate", "200", "-zone", "Europe/Oslo", fmt.Sprint("-http=", web), "-debug", "127.0.0.1:0")
	says(t, output, "3 instances, live")
	for _, at := range listen {
		says(t, output, at)
	}
	debugPage(t, output())
	servers[0].Process.Signal(syscall.SIGTERM)
	await(t, "the end of a server", func() error {
		if servers[0].Process.Signal(syscall.Signal(0)) == nil {
			return errors.New("it still runs")
		}
		return nil
	})
	// It has gone on serving until callers knew, and others have the calls now.
	if strings.HasPrefix(find, "direct:") {
		says(t, output, "3 instances, live")
	} else {
		says(t, output, "2 instances, live")
	}
	if !regexp.MustCompile(`(?m)^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+0[12]:00  \d+ calls`).MatchString(output()) {
		t.Errorf("the client does not tell the time in Oslo: %s", output())
	}
	calls.Process.Signal(os.Interrupt)
	says(t, output, "in all ")
	if !regexp.MustCompile(`in all \d{3,} calls, 0 failed`).MatchString(output()) {
		t.Errorf("the client: %s\nthe server that ended: %s", output(), outputs[0]())
	}
}

// debugPage asks for what the client shows of the SDK.
func debugPage(t *testing.T, output string) {
	t.Helper()
	at := regexp.MustCompile(`http://(\S+)/debug/skerry`).FindStringSubmatch(output)
	if at == nil {
		t.Fatalf("the client does not say where its page is: %s", output)
	}
	if r := request(t, http.DefaultClient, "GET", "http://"+at[1]+"/debug/skerry", ""); r.status != 200 || !strings.Contains(r.body, "<td>127.0.0.1:") {
		t.Errorf("the page: %v %s", r.status, r.body)
	}
	if r := request(t, http.DefaultClient, "GET", "http://"+at[1]+"/metrics", ""); !strings.Contains(r.body, "skerry_client_list_live") {
		t.Errorf("the metrics: %v %s", r.status, r.body)
	}
}

// A program with Consul's own client works unchanged, and is found by the SDK.
func TestConsulsClient(t *testing.T) {
	a := start(t, nil)
	port := program.Port(t)
	cmd, output := sample(t, []string{"CONSUL_HTTP_ADDR=" + a.http}, program.Build(t, ".", "./examples/consulclient"), "-listen", local(port))
	a.awaitInstances("time", fmt.Sprintf("time-%d passing", port))
	caller := program.Build(t, ".", "./examples/timeservice/client")
	_, called := sample(t, []string{"SKERRY_CACHE_DIR=" + t.TempDir()}, caller, "-registry", "skerry://"+a.http+"/?tag=master", "-calls", "1")
	says(t, called, "in all 1 calls, 0 failed")
	if id := fmt.Sprintf("time-%d ", port); !strings.Contains(called(), id) {
		t.Errorf("the client lacks %s: %s\n%s", id, called(), output())
	}
	check := a.ok("GET", "/v1/agent/checks", "").body
	for _, want := range []string{`"Type":"tcp"`, `"ServiceTags":["master"]`} {
		if !strings.Contains(check, want) {
			t.Errorf("the check lacks %s: %s", want, check)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	a.awaitInstances("time")
	if got := a.ok("GET", "/v1/health/service/time", "").header.Get("X-Skerry-Empty-Cause"); got != "deregistered" {
		t.Errorf("the list is empty because %q, want deregistered", got)
	}
}

func TestFileServer(t *testing.T) {
	program.Need(t, "curl", "sh", "go")
	server, a := serverAndAgent(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "hello.txt"), []byte("ahoy"), 0o600); err != nil {
		t.Fatal(err)
	}
	port := program.Port(t)
	script := filepath.Join(program.Root(), "examples/fileserver/fileserver.sh")
	cmd, output := sample(t, []string{"CONSUL_HTTP_ADDR=" + a.http, fmt.Sprint("PORT=", port), "DIR=" + dir}, "sh", script)
	id := fmt.Sprint("files-", port)
	await(t, "the file server", func() error {
		if got := a.instances("files"); fmt.Sprint(got) != "["+id+" passing]" {
			return fmt.Errorf("got %v\n%s", got, output())
		}
		return nil
	})
	if got := request(t, http.DefaultClient, "GET", "http://"+local(port)+"/hello.txt", ""); got.body != "ahoy" {
		t.Errorf("the file server served %q", got.body)
	}
	server.finds("files", id)
	if check := a.ok("GET", "/v1/agent/checks", "").body; !strings.Contains(check, `"Type":"http"`) {
		t.Errorf("not an HTTP check: %s", check)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	a.awaitInstances("files")
	server.awaitInstances("files")
}

// serverAndAgent starts a server that is alone, and an agent that is attached to it.
func serverAndAgent(t *testing.T) (server, agent *agent) {
	t.Helper()
	port := program.Port(t)
	server = start(t, map[string]any{"node_name": "s1", "ports": map[string]any{"server": port}})
	return server, joined(t, "web1", []string{local(port)})
}
