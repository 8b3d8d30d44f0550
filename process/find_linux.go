package process

import (
	"bytes"
	"io"
	"os"
	"strconv"
)

// most bounds how much of a process's environment is read.
const most = 256 << 10

// running is the state of a process in /proc.
type running struct {
	name                   string
	parent, group, session int
}

// find returns the family without its leader and without those that have ended.
func (f Family) find() (found []Member) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	names, _ := dir.Readdirnames(-1)
	dir.Close()
	all := map[int]running{}
	ours := map[int]bool{}
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil || pid == os.Getpid() {
			continue
		}
		p, ok := look(name)
		if !ok {
			continue
		}
		all[pid] = p
		if f.Leader > 0 && (pid == f.Leader || p.group == f.Leader || p.session == f.Leader) || f.marks(name) {
			ours[pid] = true
		}
	}
	for more := true; more; { // children of ours are ours
		more = false
		for pid, p := range all {
			if ours[p.parent] && !ours[pid] {
				ours[pid], more = true, true
			}
		}
	}
	for pid := range ours {
		if pid != f.Leader {
			found = append(found, Member{pid, all[pid].name, all[pid].group})
		}
	}
	return found
}

// look reads "pid (name) state parent group session …"; a name may hold anything.
func look(pid string) (p running, ok bool) {
	b, err := os.ReadFile("/proc/" + pid + "/stat")
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if err != nil || open < 0 || end < open {
		return p, false
	}
	fields := bytes.Fields(b[end+1:])
	if len(fields) < 4 || fields[0][0] == 'Z' || fields[0][0] == 'X' {
		return p, false
	}
	p.name = string(b[open+1 : end])
	for i, into := range []*int{&p.parent, &p.group, &p.session} {
		if *into, err = strconv.Atoi(string(fields[1+i])); err != nil {
			return p, false
		}
	}
	return p, true
}

func (f Family) marks(pid string) bool {
	if f.Mark == "" {
		return false
	}
	file, err := os.Open("/proc/" + pid + "/environ")
	if err != nil {
		return false
	}
	defer file.Close()
	env, _ := io.ReadAll(io.LimitReader(file, most))
	return bytes.Contains(env, []byte(f.Mark))
}
