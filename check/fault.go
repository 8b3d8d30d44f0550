package check

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/skerryhq/skerry"
)

// Fault is why a run has no result: this process, or its host, could not do it.
type Fault string

// The faults.
const (
	FaultFiles     Fault = "files"     // no more files can be opened
	FaultMemory    Fault = "memory"    // the system has none left
	FaultProcesses Fault = "processes" // no program can be started
	FaultPorts     Fault = "ports"     // no local port is free for a connection
	FaultRunners   Fault = "runners"   // no runner was free for longer than the check's interval
	FaultStopped   Fault = "stopped"   // the run was called off
	FaultPanic     Fault = "panic"     // the probe panicked
)

var faults = []Fault{FaultFiles, FaultMemory, FaultProcesses, FaultPorts, FaultRunners, FaultStopped, FaultPanic}

// Failed returns the result of a run that ended in err: critical, with the error
// as its output, or a fault of ours. All kinds report their errors by it.
func Failed(err error) Result {
	if f := FaultOf(err); f != "" {
		return Result{Output: err.Error(), Fault: f}
	}
	return Result{Status: skerry.Critical, Output: err.Error()}
}

// FaultOf returns the fault behind an error; "" when it is the target's. A name that does
// not resolve is the target's, unless the resolver itself had a fault.
func FaultOf(err error) Fault {
	switch {
	case err == nil:
		return ""
	case is(err, syscall.EMFILE), is(err, syscall.ENFILE):
		return FaultFiles
	case is(err, syscall.ENOMEM), is(err, syscall.ENOBUFS):
		return FaultMemory
	case errors.Is(err, syscall.EAGAIN):
		return tryAgain(err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return noAddress(err)
	case errors.Is(err, context.Canceled):
		return FaultStopped
	}
	var name *net.DNSError
	if errors.As(err, &name) && name.IsNotFound && outOfFiles() {
		return FaultFiles // /etc/hosts could not be read: its names are not found then
	}
	return ""
}

// is sees through the resolver, which keeps no more than an error's text.
func is(err error, number syscall.Errno) bool {
	if errors.Is(err, number) {
		return true
	}
	var name *net.DNSError
	return errors.As(err, &name) && strings.HasSuffix(name.Err, ": "+number.Error())
}

// tryAgain is the error of a system that can start no process, or has no port for a
// connection; of a unix socket it means that its owner does not accept.
func tryAgain(err error) Fault {
	var op *net.OpError
	if !errors.As(err, &op) {
		return FaultProcesses
	}
	if strings.HasPrefix(op.Net, "unix") {
		return ""
	}
	return FaultPorts
}

// noAddress distinguishes the two causes: all local ports towards the target are in use,
// or this host has no address of that family. UDP needs no port of TCP's.
func noAddress(err error) Fault {
	var op *net.OpError
	if !errors.As(err, &op) || op.Addr == nil || !strings.HasPrefix(op.Net, "tcp") {
		return ""
	}
	conn, err := net.DialTimeout("udp", op.Addr.String(), time.Second)
	if err != nil {
		return FaultOf(notAgain(err))
	}
	conn.Close()
	return FaultPorts
}

// notAgain drops the error that noAddress was asked about.
func notAgain(err error) error {
	if errors.Is(err, syscall.EADDRNOTAVAIL) {
		return nil
	}
	return err
}

func outOfFiles() bool {
	f, err := os.Open(os.DevNull)
	if err == nil {
		f.Close()
	}
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}
