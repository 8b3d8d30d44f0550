//go:build unix

package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is a program that was started.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}

	mu  sync.Mutex
	log strings.Builder
}

// launch starts a program; lines of its output are passed to hear.
func (d *demo) launch(name string, hear func(string), args ...string) (*process, error) {
	out, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	p := &process{cmd: exec.Command(filepath.Join(d.dir, name), args...), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = in, in
	p.cmd.Env = append(os.Environ(), "SKERRY_CACHE_DIR="+filepath.Join(d.dir, "cache"))
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C reaches only us
	if err := p.cmd.Start(); err != nil {
		out.Close()
		return nil, err
	}
	go func() {
		defer out.Close()
		p.read(out, hear)
	}()
	go func() {
		p.cmd.Wait() // its exit does not matter: the caller prints the counts
		close(p.ended)
	}()
	return p, nil
}

func (p *process) read(out io.Reader, hear func(string)) {
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if hear != nil {
			hear(lines.Text())
			continue
		}
		p.mu.Lock()
		p.log.WriteString(lines.Text() + "\n")
		p.mu.Unlock()
	}
}

func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// registered reports whether a server's last word on it was that it is registered.
func (p *process) registered() bool {
	said := p.said()
	return strings.LastIndex(said, "registered=true") > strings.LastIndex(said, "registered=false")
}

func (p *process) signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

// end sends a signal, and waits until the process has ended.
func (p *process) end(s syscall.Signal) error {
	if err := p.signal(s); err != nil {
		return err
	}
	<-p.ended
	return nil
}

// stop ends a process, if there is one, that may be stopped or have ended.
func (p *process) stop() {
	if p == nil {
		return
	}
	_ = p.signal(syscall.SIGCONT)
	_ = p.signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(15 * time.Second):
		_ = p.signal(syscall.SIGKILL)
		<-p.ended
	}
}
