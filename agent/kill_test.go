package agent

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
)

// childDir names the folder of a test binary that is to be killed.
const childDir = "SKERRY_TEST_AGENT_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		registerForever(dir)
	}
	os.Exit(m.Run())
}

// registerForever prints each change once it was acknowledged.
func registerForever(dir string) {
	r := open(childTB{}, dir)
	for n := 0; ; n++ {
		id := fmt.Sprintf("s%d", n%50)
		r.register(skerry.Instance{ID: id, Service: "web", Port: n}, ttlCheck(time.Hour))
		r.beat("service:"+id, skerry.Passing, "")
		fmt.Printf("%s %d\n", id, n)
		if n%7 == 6 {
			r.ok(r.DeregisterService(r.ctx(), id))
			fmt.Printf("%s gone\n", id)
		}
		if n%100 == 99 {
			r.ok(r.ledger.Compact())
		}
	}
}

// childTB is what the child has in a test's place.
type childTB struct{ testing.TB }

func (childTB) Helper()        {}
func (childTB) Cleanup(func()) {}
func (childTB) Fatal(args ...any) {
	fmt.Println("fatal", args)
	os.Exit(1)
}
func (childTB) Errorf(format string, args ...any) { fmt.Printf("fatal "+format+"\n", args...) }

func TestKill(t *testing.T) {
	rounds, acks := 5, 300
	if testing.Short() {
		rounds = 2
	}
	dir := t.TempDir()
	acknowledged := map[string]string{}
	for round := range rounds {
		child := exec.Command(os.Args[0], "-test.run=none")
		child.Env = append(os.Environ(), childDir+"="+dir)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		// Killed in the middle of its work, at another point each time.
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			id, what, _ := strings.Cut(lines.Text(), " ")
			if id == "fatal" {
				t.Errorf("the child: %s", what)
			}
			acknowledged[id] = what
			if n == acks+37*round {
				if err := child.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = child.Wait()
		r := open(t, dir)
		compareAcknowledged(r, acknowledged)
		r.stop()
	}
}

// compareAcknowledged allows one change more than was printed.
func compareAcknowledged(r *rig, acknowledged map[string]string) {
	r.Helper()
	missing, ahead := 0, 0
	for id, what := range acknowledged {
		i, own, _ := r.Instance(id)
		switch {
		case what == "gone" && i == nil:
		case what == "gone", i == nil, fmt.Sprint(i.Port) != what:
			ahead++
			if i != nil {
				acknowledged[id] = fmt.Sprint(i.Port)
			} else {
				acknowledged[id] = "gone"
			}
		case len(own) != 1 || own[0].Status != skerry.Passing:
			missing++
			r.Errorf("%s of change %s has checks %+v", id, what, own)
		}
	}
	if ahead > 1 || len(acknowledged) < 50 {
		r.Errorf("%d of %d instances are not as acknowledged", ahead, len(acknowledged))
	}
}
