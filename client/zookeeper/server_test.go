package zookeeper

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/skerryhq/skerry/client"
	"github.com/skerryhq/skerry/client/sourcetest"
	"github.com/skerryhq/skerry/test/program"
)

const within = 30 * time.Second

// server is a real ZooKeeper on loopback that can be killed and started again.
type server struct {
	t    *testing.T
	host string
	dir  string
	cmd  *exec.Cmd
}

// classpath is where ZooKeeper is: in ZOOKEEPER_HOME, or as Debian installs it.
func classpath(t *testing.T) string {
	t.Helper()
	if home := os.Getenv("ZOOKEEPER_HOME"); home != "" {
		return filepath.Join(home, "lib", "*")
	}
	jar := "/usr/share/java/zookeeper.jar"
	if _, err := os.Stat(jar); err != nil {
		t.Skip("there is no ZooKeeper: set ZOOKEEPER_HOME or install Debian's package zookeeper")
	}
	return jar
}

func start(t *testing.T) *server {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a Java process")
	}
	// A port that was free a moment ago may be another test's by now, whose server would answer in place of this one.
	s := &server{t: t, host: net.JoinHostPort("127.0.0.1", strconv.Itoa(program.Port(t))), dir: t.TempDir()}
	t.Cleanup(s.kill)
	s.run()
	return s
}

func (s *server) run() {
	s.t.Helper()
	_, port, _ := net.SplitHostPort(s.host)
	conf := filepath.Join(s.t.TempDir(), "zoo.cfg")
	text := fmt.Sprintf("tickTime=500\ndataDir=%s\nclientPort=%s\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n4lw.commands.whitelist=ruok\n", s.dir, port)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.cmd = exec.Command("java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", classpath(s.t), "org.apache.zookeeper.server.ZooKeeperServerMain", conf)
	if err := s.cmd.Start(); err != nil {
		s.t.Skipf("no Java: %v", err)
	}
	for end := time.Now().Add(within); ; time.Sleep(20 * time.Millisecond) {
		if zk.FLWRuok([]string{s.host}, time.Second)[0] && s.takesSessions() {
			return
		}
		if time.Now().After(end) {
			s.t.Fatal("ZooKeeper does not serve")
		}
	}
}

// takesSessions reports whether a session can be opened: a server takes connections for a moment before it takes sessions.
func (s *server) takesSessions() bool {
	c, events, err := zk.Connect([]string{s.host}, time.Second, zk.WithLogger(silent{}))
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	for late := time.After(time.Second); ; {
		select {
		case e := <-events:
			if e.State == zk.StateHasSession {
				return true
			}
		case <-late:
			return false
		}
	}
}

func (s *server) kill() {
	if s.cmd != nil && s.cmd.Process != nil {
		s.cmd.Process.Kill()
		s.cmd.Wait()
	}
}

// tool is a plain session.
func (s *server) tool() *zk.Conn {
	s.t.Helper()
	c, _, err := zk.Connect([]string{s.host}, 20*time.Second, zk.WithLogger(silent{}))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	return c
}

// write makes a node and what it is in; data nil removes it.
func write(t *testing.T, c *zk.Conn, node string, data []byte) {
	t.Helper()
	var err error
	parts := strings.Split(strings.Trim(node, "/"), "/")
	for n := range parts[:len(parts)-1] {
		if _, err := c.Create("/"+strings.Join(parts[:n+1], "/"), nil, 0, zk.WorldACL(zk.PermAll)); err != nil && err != zk.ErrNodeExists {
			t.Fatal(err)
		}
	}
	if data == nil {
		err = c.Delete(node, -1)
	} else if _, err = c.Create(node, data, 0, zk.WorldACL(zk.PermAll)); err == zk.ErrNodeExists {
		_, err = c.Set(node, data, -1)
	}
	if err != nil {
		t.Fatalf("%s: %v", node, err)
	}
}

func source(t *testing.T, rawURL string) *Source {
	t.Helper()
	s, err := client.OpenSource(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	return s.(*Source)
}

// until and list wait for what a source tells.
func until(t *testing.T, tell <-chan sourcetest.Told, what string, right func(sourcetest.Told) bool) sourcetest.Told {
	t.Helper()
	return sourcetest.Until(t, tell, within, what, right)
}

func list(t *testing.T, tell <-chan sourcetest.Told, want string) sourcetest.Told {
	t.Helper()
	return sourcetest.List(t, tell, within, want)
}
