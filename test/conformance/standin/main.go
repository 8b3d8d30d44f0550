// Command standin stands for the server that SKERRY_BIN names, in the role that SKERRY_STANDIN
// names. Started as `standin agent -config-file F [ARGS]`, it starts the process of F in that role,
// and servers beside it. Connections to the HTTP API of F wait until all are ready. Other commands
// are passed on. Programs that test one server so test another role.
//
//	follower      a server of three, another of which leads the quorum store
//	agent         an agent of three servers
//	agent-of-one  an agent of one server
package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/skerryhq/skerry/test/program"
)

// envRole names the environment variable that has the role.
const envRole = "SKERRY_STANDIN"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "standin:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	bin := os.Getenv(program.EnvBinary)
	if bin == "" {
		return fmt.Errorf("set %s to the server to start", program.EnvBinary)
	}
	role, ok := roles[os.Getenv(envRole)]
	if !ok {
		return fmt.Errorf("set %s to follower, agent or agent-of-one", envRole)
	}
	if len(args) < 3 || args[0] != "agent" || args[1] != "-config-file" {
		return passOn(bin, args)
	}
	stopped := make(chan os.Signal, 1)
	signal.Notify(stopped, os.Interrupt, syscall.SIGTERM)
	c, err := configure(role, args[2])
	if err != nil {
		return err
	}
	defer c.kill()
	l, err := c.listen()
	if err != nil {
		return err
	}
	failed := make(chan error, 2)
	go func() { failed <- c.serve(l) }()
	go func() {
		if err := c.start(bin, args[3:]); err != nil {
			failed <- err
		}
	}()
	select {
	case <-stopped:
		return c.stop()
	case p := <-c.ended:
		if role.agent && p == c.asked() {
			return nil // it left
		}
		return fmt.Errorf("the process of %s ended", p.file)
	case err := <-failed:
		return err
	}
}

// passOn runs a command of the server itself.
func passOn(bin string, args []string) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	cmd := exec.Command(bin, args...)
	cmd.Args[0] = os.Args[0] // it is another program by the name of consul
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() {
		for s := range signals {
			cmd.Process.Signal(s)
		}
	}()
	return cmd.Wait()
}
