package child

import (
	"io"
	"os"
	"os/exec"
	"sync"
	"time"
)

// linger is how long output is waited for that a process left behind holds open.
const linger = time.Second

// output copies the program's output to writers that are no files. The library's own way
// would take the program for running while a descendant holds a pipe.
type output struct {
	ours, theirs []*os.File
	into         []io.Writer
	copying      sync.WaitGroup
}

func outputTo(cmd *exec.Cmd, stdout, stderr io.Writer) (*output, error) {
	o := &output{}
	var err error
	if cmd.Stdout, err = o.file(stdout); err != nil {
		return nil, err
	}
	if stderr == stdout {
		cmd.Stderr = cmd.Stdout
		return o, nil
	}
	if cmd.Stderr, err = o.file(stderr); err != nil {
		o.abandon()
		return nil, err
	}
	return o, nil
}

// file returns a file whose contents go to w; nil for nil.
func (o *output) file(w io.Writer) (io.Writer, error) {
	if f, ok := w.(*os.File); ok || w == nil {
		if f == nil {
			return nil, nil
		}
		return f, nil
	}
	r, theirs, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	o.ours, o.theirs, o.into = append(o.ours, r), append(o.theirs, theirs), append(o.into, w)
	return theirs, nil
}

// copy begins once the program has its ends of the pipes.
func (o *output) copy() {
	for i, r := range o.ours {
		o.theirs[i].Close()
		o.copying.Go(func() {
			if _, err := io.Copy(o.into[i], r); err != nil {
				io.Copy(io.Discard, r) // a program must not end for a reader of ours
			}
		})
	}
}

// finish returns when all was brought over, at the latest after linger.
func (o *output) finish() {
	if len(o.ours) == 0 {
		return
	}
	t := time.AfterFunc(linger, func() {
		for _, r := range o.ours {
			r.SetReadDeadline(time.Now())
		}
	})
	defer t.Stop()
	o.copying.Wait()
	for _, r := range o.ours {
		r.Close()
	}
}

// abandon closes all when the program did not start.
func (o *output) abandon() {
	for i := range o.ours {
		o.ours[i].Close()
		o.theirs[i].Close()
	}
}
