package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

func newMonitorCommand() *cobra.Command {
	var level string
	var asJSON bool
	cmd := &cobra.Command{Use: "monitor", Short: "Follow the agent's log", Args: cobra.NoArgs}
	cmd.Flags().StringVar(&level, "log-level", "info", "least `level`: trace, debug, info, warn or error")
	cmd.Flags().BoolVar(&asJSON, "log-json", false, "lines of JSON")
	return client(cmd, func(ctx context.Context, c *connection, _ []string, out io.Writer) error {
		ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
		defer stop()
		query := url.Values{"loglevel": {strings.ToLower(level)}}
		if asJSON {
			query.Set("logjson", "true")
		}
		lines, err := c.Open(ctx, http.MethodGet, "/v1/agent/monitor", query, nil)
		if err != nil {
			return err
		}
		defer lines.Close()
		_, err = io.Copy(out, lines)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			return fmt.Errorf("the agent at %s ended the stream", c.Address)
		}
		return err
	})
}
