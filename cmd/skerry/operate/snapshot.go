package operate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry/cmd/skerry/connect"
)

// NewSnapshot returns the command snapshot.
func NewSnapshot() *cobra.Command {
	cmd := &cobra.Command{Use: "snapshot", Short: "Save and restore what was decided"}
	cmd.AddCommand(newSave(), newRestore())
	return cmd
}

func newSave() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "save FILE",
		Short: "Save a snapshot",
		Long: `Save keys, sessions, tokens, prepared queries and external services to a file, for
its owner's eyes only: it holds secrets. The file is replaced when the snapshot
is whole.`,
		Args: cobra.ExactArgs(1),
	}
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, args []string, out io.Writer) error {
		body, meta, err := c.Snapshot().Save(c.Options(ctx))
		if err != nil {
			return err
		}
		defer body.Close()
		if err := keep(body, args[0]); err != nil {
			return fmt.Errorf("saving %s: %w", args[0], err)
		}
		_, err = fmt.Fprintf(out, "Saved snapshot of index %d\n", meta.LastIndex)
		return err
	})
}

// keep writes a file that is replaced only by a whole one.
func keep(from io.Reader, name string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	n, err := io.Copy(f, from)
	if err == nil && n == 0 {
		err = errors.New("the answer is empty")
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

func newRestore() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Restore a snapshot",
		Long: `Put what a snapshot holds in the place of all that is decided now. Keys, tokens and
the rest that are not in it are lost. "-" is standard input.`,
		Args: cobra.ExactArgs(1),
	}
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, args []string, out io.Writer) error {
		in := cmd.InOrStdin()
		if args[0] != "-" {
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			in = f
		}
		if err := c.Snapshot().Restore(c.WriteOptions(ctx), in); err != nil {
			return err
		}
		_, err := fmt.Fprintln(out, "Restored snapshot")
		return err
	})
}

func decode(from io.Reader, v any) error {
	if err := json.NewDecoder(from).Decode(v); err != nil {
		return fmt.Errorf("the agent's answer cannot be read: %w", err)
	}
	return nil
}
