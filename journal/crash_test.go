package journal

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/skerryhq/skerry/test/program"
)

const crashFolder = "JOURNAL_CRASH_FOLDER"

// TestHelperThatIsKilled is the process that the test below kills: it appends, tells
// what is acknowledged, and compacts without a pause.
func TestHelperThatIsKilled(t *testing.T) {
	dir := os.Getenv(crashFolder)
	if dir == "" {
		t.Skip("only for TestKilledWhileItCompacts")
	}
	j, report, err := Open(dir, func(r []byte) error {
		_, err := strconv.Atoi(string(r))
		return err
	})
	if err != nil || report.Damaged > 0 {
		fmt.Println("cannot open:", err, report)
		os.Exit(1)
	}
	last := report.Records
	var state [][]byte
	for i := range last {
		state = append(state, fmt.Append(nil, i))
	}
	told := make(chan int)
	next := make(chan struct{})
	go func() {
		for n := last; ; n++ {
			<-next // the snapshot is taken between appends, as a keeper takes it under its lock
			if j.Append(fmt.Append(nil, n)).Wait(t.Context()) != nil {
				os.Exit(1)
			}
			told <- n
		}
	}()
	for {
		c, err := j.Compact()
		if err != nil {
			os.Exit(1)
		}
		for _, r := range state {
			if c.Write(r) != nil {
				os.Exit(1)
			}
		}
		next <- struct{}{} // appended while the compaction runs
		done := make(chan error)
		go func() { done <- c.Commit() }()
		n := <-told
		state = append(state, fmt.Append(nil, n))
		fmt.Println(n)
		if <-done != nil {
			os.Exit(1)
		}
	}
}

// Killed between any two steps of a compaction, the journal has every acknowledged
// record, each once and in order.
func TestKilledWhileItCompacts(t *testing.T) {
	dir := t.TempDir()
	acknowledged := -1
	rounds := 150
	if testing.Short() {
		rounds = 5
	}
	for round := range rounds {
		acknowledged = max(acknowledged, program.Killed(t, "TestHelperThatIsKilled", crashFolder+"="+dir, 3*time.Millisecond, 5*time.Second))
		j, got, report := open(t, dir)
		if report.Damaged > 0 {
			t.Fatalf("round %d: %+v", round, report)
		}
		for i, r := range got {
			if r != strconv.Itoa(i) {
				t.Fatalf("round %d: record %d is %q", round, i, r)
			}
		}
		if len(got) <= acknowledged {
			t.Fatalf("round %d: %d records, and %d was acknowledged", round, len(got), acknowledged)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if acknowledged < rounds {
		t.Errorf("only %d records were acknowledged in %d rounds", acknowledged, rounds)
	}
	t.Logf("%d records were acknowledged in %d rounds", acknowledged+1, rounds)
}

// What a compaction leaves behind at each of its steps: its file with nothing, with
// a part, and whole, beside the old one.
func TestWhatACompactionLeftBehindIsNotRead(t *testing.T) {
	dir := t.TempDir()
	j, _, _ := open(t, dir)
	for _, r := range []string{"a", "b"} {
		if err := j.Append([]byte(r)).Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	j.Close()
	var whole []byte
	for _, r := range []string{"x", "y"} {
		whole = appendLine(whole, []byte(r))
	}
	for n := range len(whole) + 1 {
		if err := os.WriteFile(dir+"/"+fileName+".new", whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		j, got, report := open(t, dir)
		if strings.Join(got, "") != "ab" || report.Damaged > 0 || report.Torn {
			t.Fatalf("with %d bytes left: %q, %+v", n, got, report)
		}
		c, err := j.Compact()
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range got {
			c.Write([]byte(r))
		}
		if err := c.Commit(); err != nil {
			t.Fatal(err)
		}
		j.Close()
		if b, err := os.ReadFile(dir + "/" + fileName); err != nil || bytes.Contains(b, []byte("x")) && n > 0 {
			t.Fatalf("what was left is in the journal: %q, %v", b, err)
		}
	}
}
