// Package systemd sends the state of this process to the service manager that started it,
// by the protocol of sd_notify(3).
package systemd

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"
)

// Manager is the service manager. Without one its methods do nothing.
type Manager struct {
	conn net.Conn // nil: there is none
	log  *slog.Logger
}

// variable names the manager's socket. Programs that this process starts must not have it: they would speak
// for the service.
const variable = "NOTIFY_SOCKET"

// Connect returns the manager that the environment names.
func Connect(log *slog.Logger) *Manager {
	m := &Manager{log: log}
	address := os.Getenv(variable)
	if address == "" {
		return m
	}
	os.Unsetenv(variable)
	conn, err := net.Dial("unixgram", address)
	if err != nil {
		log.Warn("the service manager cannot be reached", "error", err)
		return m
	}
	m.conn = conn
	return m
}

const (
	// readyWithin bounds the wait of other units for this one: an agent whose servers are all away has to
	// let the programs of its host start.
	readyWithin = 30 * time.Second
	askSoon     = 100 * time.Millisecond
	askLater    = time.Second
)

// Starting asks whether the process is ready until it is, or ctx ends. It is reported as ready then, and after
// 30 s in any case, with the reason as its status.
func (m *Manager) Starting(ctx context.Context, ready func() error) {
	if m.conn == nil {
		return
	}
	late := time.After(readyWithin)
	every, told := askSoon, false
	for {
		err := ready()
		if err == nil {
			m.send("READY=1", "STATUS=ready")
			return
		}
		status := "STATUS=" + strings.ReplaceAll(err.Error(), "\n", " ")
		if told {
			status = "STATUS=runs, but is not ready: " + strings.TrimPrefix(status, "STATUS=")
		}
		m.send(status)
		again := time.NewTimer(every)
		select {
		case <-again.C:
		case <-late:
			m.send("READY=1")
			every, told = askLater, true
		case <-ctx.Done():
		}
		again.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// Reload reports that the configuration is read again, and then that this is over.
func (m *Manager) Reload(reload func() error) error {
	m.send("RELOADING=1")
	err := reload()
	m.send("READY=1")
	return err
}

// Stopping reports that the process ends.
func (m *Manager) Stopping() { m.send("STOPPING=1") }

func (m *Manager) send(states ...string) {
	if m.conn == nil {
		return
	}
	if _, err := m.conn.Write([]byte(strings.Join(states, "\n"))); err != nil && !errors.Is(err, net.ErrClosed) {
		m.log.Warn("the service manager does not take this process's state", "error", err)
	}
}
