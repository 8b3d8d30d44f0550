// Package process ends a program together with all that it started, also daemons that
// have left its process group and session.
//
// A program's descendants are known by its process group and session, by their
// parent, and by a mark in their environment, which they inherit. A process escapes
// that has changed all of these, or its user: Linux shows neither its environment nor
// takes a signal for it, unless this process is root's.
package process

import (
	"crypto/rand"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Family is a program and its descendants.
type Family struct {
	Leader int    // the program's process; 0: it is not known
	Mark   string // of NewMark; "": they have none
}

// NewMark returns an environment variable, "NAME=1", that no other process has.
func NewMark() string { return "SKERRY_RUN_" + rand.Text() + "=1" }

// Marked adds a mark, unless it is empty, to an environment; nil stands for this
// process's own.
func Marked(env []string, mark string) []string {
	if mark == "" {
		return env
	}
	if env == nil {
		env = os.Environ()
	}
	return append(env[:len(env):len(env)], mark)
}

// Lead gives the program a session of its own, and so a process group, and a mark.
// When its context ends, its family is killed.
func Lead(cmd *exec.Cmd, mark string) {
	cmd.Env = Marked(cmd.Env, mark)
	ownSession(cmd)
	cmd.Cancel = func() error {
		Family{cmd.Process.Pid, mark}.Kill()
		return cmd.Process.Kill()
	}
}

// Group gives the program a process group of its own, and a mark. It stays in the
// session of its starter, and so at its terminal.
func Group(cmd *exec.Cmd, mark string) {
	cmd.Env = Marked(cmd.Env, mark)
	ownGroup(cmd)
}

// Member is a process of a family.
type Member struct {
	PID   int
	Name  string
	group int
}

// String returns "name (pid)".
func (m Member) String() string { return m.Name + " (" + strconv.Itoa(m.PID) + ")" }

// Kill kills the family once and returns its killed members, the leader apart. Where the
// system does not tell parents from children, only the process group is killed.
func (f Family) Kill() []Member {
	return f.Signal(os.Kill)
}

// Signal sends a signal to the family, once to each member, and returns those that got it,
// the leader apart.
func (f Family) Signal(sig os.Signal) []Member {
	found := f.find()
	for _, m := range found {
		if f.Leader == 0 || m.group != f.Leader {
			kill(m.PID, sig)
		}
	}
	if f.Leader > 0 {
		killGroup(f.Leader, sig)
	}
	return found
}

// Left returns the members that live, the leader apart; with inGroup only those
// that are still in the program's process group.
func (f Family) Left(inGroup bool) []Member {
	if inGroup && !groupLives(f.Leader) {
		return nil
	}
	found := f.find()
	if inGroup {
		found = slices.DeleteFunc(found, func(m Member) bool { return m.group != f.Leader })
	}
	return found
}

// End kills the family until no member is left, for at most so long. It returns
// the killed members, and those that are left all the same.
func (f Family) End(within time.Duration) (killed, left []Member) {
	const pause = 10 * time.Millisecond
	known := map[int]bool{}
	for end := time.Now().Add(within); ; time.Sleep(pause) {
		left = f.Kill()
		for _, m := range left {
			if !known[m.PID] {
				known[m.PID] = true
				killed = append(killed, m)
			}
		}
		if len(left) == 0 || time.Now().After(end) {
			return killed, left
		}
	}
}

// Names lists members for a log.
func Names(ms []Member) string {
	var b strings.Builder
	for i, m := range ms {
		if i == 10 {
			b.WriteString(", …")
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(m.String())
	}
	return b.String()
}
