//go:build unix

package sidecar

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	skerrytest "github.com/skerryhq/skerry/test/program"
)

// The programs that are run are this test's own binary, told by a variable what
// to be.
func TestMain(m *testing.M) {
	if what := os.Getenv("SIDECAR_TEST_PROGRAM"); what != "" {
		os.Exit(program(what))
	}
	skerrytest.TakeSignals()
	os.Exit(m.Run())
}

// program says what happens to it on standard output, line by line.
func program(what string) int {
	kind, argument, _ := strings.Cut(what, " ")
	switch kind {
	case "exit":
		code, _ := strconv.Atoi(argument)
		return code
	case "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals)
	if kind == "listen" {
		// It does not listen before it is told to.
		if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
			return 90
		}
		l, err := net.Listen("tcp", argument)
		if err != nil {
			return 91
		}
		defer l.Close()
	}
	fmt.Println("ready")
	for sig := range signals {
		if sig == syscall.SIGURG {
			continue // the runtime's own
		}
		fmt.Println(sig)
		if sig == syscall.SIGTERM || sig == os.Interrupt {
			return 7
		}
	}
	return 92
}

// recorder is a registrar that reports every call, and answers as it is told.
type recorder struct {
	events   chan string
	register chan error // answers of Register; empty: nil
	unknown  chan bool  // each makes one Confirm say that the agent lost the service
	hang     bool       // Register hangs until its context ends
	drained  chan bool  // nil: it does not count readers, else each ends a drain
}

func newRecorder() *recorder {
	return &recorder{events: make(chan string, 1000), register: make(chan error, 10), unknown: make(chan bool, 10)}
}

func (r *recorder) Register(ctx context.Context) error {
	r.events <- "register"
	if r.hang {
		<-ctx.Done()
		return ctx.Err()
	}
	select {
	case err := <-r.register:
		return err
	default:
		return nil
	}
}

func (r *recorder) Withdraw(ctx context.Context, drain time.Duration) (bool, error) {
	if drain == 0 || r.drained == nil {
		r.events <- "withdraw"
		return false, nil
	}
	r.events <- "drain"
	select {
	case <-r.drained:
		return true, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

func (r *recorder) Confirm(context.Context) (bool, error) {
	select {
	case <-r.unknown:
		r.events <- "lost"
		return false, nil
	default:
		return true, nil
	}
}

// session is a program that is being run.
type session struct {
	t       *testing.T
	r       *recorder
	signals chan os.Signal
	cancel  context.CancelFunc
	done    chan int
	stdin   *os.File
}

// start runs a program of this test; what it prints comes among the events.
func start(t *testing.T, what string, r *recorder, o Options) *session {
	t.Helper()
	t.Setenv("SIDECAR_TEST_PROGRAM", what)
	t.Setenv("GORACE", "atexit_sleep_ms=0") // else a program lingers for a second
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	in, stdin, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, stdout, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s := &session{t: t, r: r, signals: make(chan os.Signal, 8), done: make(chan int, 1), stdin: stdin}
	o.Command, o.Stdin, o.Stdout, o.Stderr = []string{exe}, in, stdout, os.Stderr
	o.Registrar, o.Signals = r, s.signals
	if o.Every == 0 {
		o.Every = time.Millisecond
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	printed := make(chan struct{})
	go func() {
		defer close(printed)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			r.events <- lines.Text()
		}
	}()
	go func() {
		code, err := Run(ctx, o)
		if err != nil {
			code = -1
		}
		stdout.Close()
		<-printed
		s.done <- code
	}()
	t.Cleanup(func() {
		cancel()
		stdin.Close()
		in.Close()
		out.Close()
	})
	return s
}

// expect waits for these events, in any order between them, and for no other.
func (s *session) expect(want ...string) {
	s.t.Helper()
	missing := map[string]int{}
	for _, w := range want {
		missing[w]++
	}
	for range want {
		if e := <-s.r.events; missing[e] == 0 {
			s.t.Fatalf("got %q while waiting for %q", e, want)
		} else {
			missing[e]--
		}
	}
}

func (s *session) exits(want int) {
	s.t.Helper()
	if code := <-s.done; code != want {
		s.t.Errorf("exit code %d, want %d", code, want)
	}
	select {
	case e := <-s.r.events:
		s.t.Errorf("%q after the end", e)
	default:
	}
}

func TestWithdrawnBeforeTheSignal(t *testing.T) {
	for _, sig := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		s := start(t, "wait", newRecorder(), Options{})
		s.expect("register", "ready")
		s.signals <- sig
		s.expect("withdraw")
		s.expect(sig.String())
		s.exits(7)
	}
}

func TestContextStopsTheProgram(t *testing.T) {
	s := start(t, "wait", newRecorder(), Options{})
	s.expect("register", "ready")
	s.cancel()
	s.expect("withdraw")
	s.expect("terminated")
	s.exits(7)
}

func TestOtherSignalsGoThrough(t *testing.T) {
	s := start(t, "wait", newRecorder(), Options{})
	s.expect("register", "ready")
	s.signals <- syscall.SIGHUP
	s.expect("hangup")
	s.signals <- syscall.SIGUSR1
	s.expect("user defined signal 1")
	s.signals <- syscall.SIGTERM
	s.expect("withdraw")
	s.expect("terminated")
	s.exits(7)
}

func TestSecondSignalEndsTheDrain(t *testing.T) {
	s := start(t, "wait", newRecorder(), Options{Drain: time.Hour, Linger: time.Hour})
	s.expect("register", "ready")
	s.signals <- syscall.SIGTERM
	s.expect("withdraw")
	s.signals <- syscall.SIGTERM
	s.expect("terminated")
	s.exits(7)
}

func TestTheSignalComesWhenReadersAreCounted(t *testing.T) {
	r := newRecorder()
	r.drained = make(chan bool)
	s := start(t, "wait", r, Options{Drain: time.Hour, Linger: time.Hour})
	s.expect("register", "ready")
	s.signals <- syscall.SIGTERM
	s.expect("drain")
	r.drained <- true
	s.expect("terminated")
	s.exits(7)
}

// The program's end, here by a second signal, breaks the drain off: the service is withdrawn at once.
func TestProgramEndsWhileReadersAreCounted(t *testing.T) {
	r := newRecorder()
	r.drained = make(chan bool)
	s := start(t, "wait", r, Options{Drain: time.Hour})
	s.expect("register", "ready")
	s.signals <- syscall.SIGTERM
	s.expect("drain")
	s.signals <- syscall.SIGTERM
	s.expect("terminated", "withdraw")
	s.exits(7)
}

func TestProgramEndsWhileDraining(t *testing.T) {
	s := start(t, "wait", newRecorder(), Options{Drain: time.Hour, Linger: time.Hour})
	s.expect("register", "ready")
	s.signals <- syscall.SIGQUIT
	s.expect("withdraw")
	s.signals <- os.Interrupt
	s.expect("interrupt")
	s.exits(7)
}

func TestWithdrawnWhenTheProgramEnds(t *testing.T) {
	for what, code := range map[string]int{"exit 0": 0, "exit 3": 3, "kill": 137} {
		r := newRecorder()
		s := start(t, what, r, Options{})
		// A program that ends at once may or may not have been registered by then.
		e := <-r.events
		if e == "register" {
			e = <-r.events
		}
		if e != "withdraw" {
			t.Errorf("%s: got %q, want withdraw", what, e)
		}
		s.exits(code)
	}
}

func TestRegisteredOnceItListens(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	s := start(t, "listen "+address, newRecorder(), Options{Listens: []string{address}})
	select {
	case e := <-s.r.events:
		t.Fatalf("%q before the program was told to listen", e)
	default:
	}
	if _, err := io.WriteString(s.stdin, "listen\n"); err != nil {
		t.Fatal(err)
	}
	s.expect("ready", "register")
	s.signals <- syscall.SIGTERM
	s.expect("withdraw")
	s.expect("terminated")
	s.exits(7)
}

func TestStoppedBeforeItListens(t *testing.T) {
	// Nothing listens on port 1 of this address; the program never does.
	s := start(t, "wait", newRecorder(), Options{Listens: []string{"127.0.0.1:1"}})
	s.expect("ready")
	s.signals <- syscall.SIGTERM
	s.expect("withdraw")
	s.expect("terminated")
	s.exits(7)
}

func TestRegisteredAgain(t *testing.T) {
	s := start(t, "wait", newRecorder(), Options{})
	s.expect("register", "ready")
	s.r.unknown <- true
	s.expect("lost")
	s.expect("register")
	s.cancel()
	s.expect("withdraw")
	s.expect("terminated")
	s.exits(7)
}

func TestAgentComesLater(t *testing.T) {
	r := newRecorder()
	r.register <- errors.New("no agent")
	r.register <- errors.New("no agent")
	s := start(t, "wait", r, Options{})
	s.expect("register", "register", "register", "ready")
	s.cancel()
	s.expect("withdraw")
	s.expect("terminated")
	s.exits(7)
}

func TestHangingAgentDoesNotHoldTheEnd(t *testing.T) {
	r := newRecorder()
	r.hang = true
	s := start(t, "wait", r, Options{})
	s.expect("register", "ready")
	s.signals <- syscall.SIGTERM
	s.expect("withdraw")
	s.expect("terminated")
	s.exits(7)
}

func TestNoProgram(t *testing.T) {
	r := newRecorder()
	if _, err := Run(context.Background(), Options{Command: []string{"/nonexistent/program"}, Registrar: r}); err == nil {
		t.Fatal("no error")
	}
	select {
	case e := <-r.events:
		t.Errorf("%q although nothing ran", e)
	default:
	}
}
