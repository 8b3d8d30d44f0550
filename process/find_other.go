//go:build !linux

package process

// find finds the group as a whole where there is no /proc: members that left it are
// not known.
func (f Family) find() []Member {
	if f.Leader > 0 && groupLives(f.Leader) {
		return []Member{{PID: f.Leader, Name: "process group", group: f.Leader}}
	}
	return nil
}
