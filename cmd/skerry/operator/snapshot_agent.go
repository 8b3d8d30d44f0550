package operator

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry/cmd/skerry/connect"
	"github.com/skerryhq/skerry/tool/snapshot"
)

func newSnapshotAgent() *cobra.Command {
	var o snapshot.Options
	var tokens bool
	cmd := &cobra.Command{
		Use:   "agent -local-path FOLDER",
		Short: "Save snapshots at intervals, and remove old ones",
		Long: `Save a snapshot at each -interval into files of -local-path, skerry-TIME.snap, and keep
the last -retain of them. Each is verified. Of several processes with the same
-lock-key one saves, and another goes on when it ends. With -interval 0 one snapshot
is saved, without a lock, and the exit code is its result.

The service -service has a check that is critical when the last snapshot was not
saved. The token needs management rights, and key:write for the lock,
session:write and service:write.`,
		Example: `  skerry snapshot agent -local-path /var/backups/skerry -interval 1h -retain 30`,
		Args:    cobra.NoArgs,
	}
	f := cmd.Flags()
	f.DurationVar(&o.Every, "interval", time.Hour, "`time` between snapshots; 0 saves one and ends")
	f.IntVar(&o.Retain, "retain", 30, "`number` of snapshots that are kept; 0 keeps all")
	f.StringVar(&o.Folder, "local-path", ".", "`folder` of the snapshots")
	f.StringVar(&o.Lock, "lock-key", "consul-snapshot/lock", "`key` of the lock by which one of several processes saves")
	f.IntVar(&o.MaxFailures, "max-failures", 3, "`number` of failures in a row after which another process gets the lock; 0: never")
	f.StringVar(&o.Service, "service", "consul-snapshot", "`name` of the service that is registered; empty: none")
	f.DurationVar(&o.DeregisterAfter, "deregister-after", 72*time.Hour, "withdraw the service when its check is critical for this `time`; 0: never")
	f.BoolVar(&tokens, "tokens", false, "keep the sealed tokens of prepared queries too")
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, _ io.Writer) error {
		switch info, err := os.Stat(o.Folder); {
		case o.Every < 0 || o.Every > 0 && o.Every < time.Second:
			return connect.Usagef("-interval: %v: want 0, or a second or more", o.Every)
		case o.Retain < 0:
			return connect.Usagef("-retain: %d: want 0 or more", o.Retain)
		case o.MaxFailures < 0:
			return connect.Usagef("-max-failures: %d: want 0 or more", o.MaxFailures)
		case o.DeregisterAfter < 0:
			return connect.Usagef("-deregister-after: %v: want 0 or more", o.DeregisterAfter)
		case o.Every > 0 && o.Lock == "":
			return connect.Usagef("-lock-key is needed: a key")
		case err != nil:
			return fmt.Errorf("-local-path: %w", err)
		case !info.IsDir():
			return fmt.Errorf("-local-path: %s is no folder", o.Folder)
		}
		var err error
		if o.Folder, err = filepath.Abs(o.Folder); err != nil {
			return err
		}
		o.Log = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
		o.Save = func(ctx context.Context, file string) error {
			_, err := save(ctx, c, file, tokens)
			return c.Explained(err)
		}
		ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		return snapshot.Run(ctx, c.Client, o)
	})
}
