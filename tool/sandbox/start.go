// Package sandbox runs servers and agents of this host beside each other: it finds
// ports for them, starts them, and waits until they are ready.
package sandbox

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"
)

// Start starts an agent. listens returns when the agent says that it listens for DNS, which
// it does last. If it ends before, the error has its exit, and cmd was waited for.
func Start(cmd *exec.Cmd) (listens func() error, err error) {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() error {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if strings.Contains(lines.Text(), "DNS") {
				go io.Copy(io.Discard, out) // ends with the process
				return nil
			}
		}
		return fmt.Errorf("the agent ended before it listened: %w", cmd.Wait())
	}, nil
}

// Await polls until is answers nil: other programs give no event. When ctx ends it
// returns the last error.
func Await(ctx context.Context, is func() error) error {
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	began := time.Now()
	for {
		err := is()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("still not after %v: %w", time.Since(began).Round(time.Millisecond), err)
		case <-again.C:
		}
	}
}
