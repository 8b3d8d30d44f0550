//go:build unix

// Command demo breaks things under a program that calls five time servers, one after
// another, and counts the calls that fail. It ends with an error if more failed than it
// promises. It is to be run in the root of the repository: make demo.
package main

import (
	"context"
	"errors"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const (
	servers = 5
	rate    = 200 // calls per second
	settled = 3 * time.Second
)

// phase is something that breaks. That so little may fail is for the caller's use of
// skerrygrpc.Retry and Hedge: without them, what a killed or stopped server has in hand
// fails.
type phase struct {
	text    string
	promise int // so many calls may fail
	run     func(d *demo) error
}

var phases = []phase{
	{"nothing is broken", 0, func(d *demo) error { return d.sleep(settled) }},
	{"a rolling restart: SIGTERM to each server, and the next when it is back", 0, func(d *demo) error {
		for n := range servers {
			if err := errors.Join(d.servers[n].end(syscall.SIGTERM), d.serve(n)); err != nil {
				return err
			}
		}
		return nil
	}},
	{"SIGKILL to a server, which is started again after 5 s", 0, func(d *demo) error {
		return errors.Join(d.servers[0].end(syscall.SIGKILL), d.sleep(5*time.Second), d.serve(0))
	}},
	{"SIGSTOP to a server: for 10 s it takes calls and answers none", 0, func(d *demo) error {
		return errors.Join(d.servers[1].signal(syscall.SIGSTOP), d.sleep(10*time.Second), d.servers[1].signal(syscall.SIGCONT))
	}},
	{"a server fails half of its calls for 10 s", 0, func(d *demo) error {
		return errors.Join(d.servers[2].signal(syscall.SIGHUP), d.sleep(10*time.Second), d.servers[2].signal(syscall.SIGHUP))
	}},
	{"SIGKILL to the registry for 15 s; meanwhile two servers are started again, one after SIGTERM and one after SIGKILL", 0, func(d *demo) error {
		down := time.Now()
		return errors.Join(d.registry.end(syscall.SIGKILL), d.sleep(2*time.Second),
			d.servers[3].end(syscall.SIGTERM), d.start(3), d.sleep(2*time.Second),
			d.servers[4].end(syscall.SIGKILL), d.start(4), d.sleep(15*time.Second-time.Since(down)))
	}},
	{"the registry is back, with none of its data; the servers register again", 0, func(d *demo) error {
		if err := d.startRegistry(); err != nil {
			return err
		}
		for _, s := range d.servers {
			if err := d.await("a server to register again", s.registered); err != nil {
				return err
			}
		}
		return d.sleep(8 * time.Second)
	}},
}

func main() {
	log.SetFlags(0)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	failed, err := run(ctx)
	switch {
	case ctx.Err() != nil:
		log.Fatal("stopped")
	case err != nil:
		log.Fatal(err)
	case failed:
		log.Fatal("more calls failed than promised")
	}
}
