package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry/cmd/skerry/connect"
	"github.com/skerryhq/skerry/cmd/skerry/show"
	"github.com/skerryhq/skerry/decided/archive"
	"github.com/skerryhq/skerry/files"
)

// NewSnapshot returns the command snapshot.
func NewSnapshot() *cobra.Command {
	cmd := &cobra.Command{Use: "snapshot", Short: "Save and restore the quorum store"}
	cmd.AddCommand(newSave(), newRestore(), newInspect(), newSnapshotAgent())
	return cmd
}

func newSave() *cobra.Command {
	var appended string
	var tokens bool
	cmd := &cobra.Command{
		Use:   "save FILE",
		Short: "Save a snapshot",
		Long: `Save keys, sessions, tokens, prepared queries and external services to a file, for
its owner's eyes only: it holds secrets. The file is replaced when the snapshot
is whole. The tokens that prepared queries run with are left out without -tokens.`,
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&appended, "append-filename", "", "put these `words` into the file's name, separated by commas: version, dc, node, status")
	cmd.Flags().BoolVar(&tokens, "tokens", false, "keep the sealed tokens of prepared queries too")
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, args []string, out io.Writer) error {
		name, err := named(c, args[0], appended)
		if err != nil {
			return err
		}
		meta, err := save(ctx, c, name, tokens)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(out, "Saved and verified snapshot to index %d\n", meta.Index)
		return err
	})
}

// save saves and verifies a snapshot.
func save(ctx context.Context, c *connect.Connection, name string, tokens bool) (archive.Meta, error) {
	query := url.Values{}
	if tokens {
		query.Set("tokens", "")
	}
	body, err := c.Open(ctx, http.MethodGet, "/v1/snapshot", query, nil)
	if err != nil {
		return archive.Meta{}, err
	}
	defer body.Close()
	meta, err := keep(body, name)
	if err != nil {
		err = fmt.Errorf("saving %s: %w", name, err)
	}
	return meta, err
}

// named puts the agent's role into a file's name: before its ending, as Consul does.
func named(c *connect.Connection, name, words string) (string, error) {
	if words == "" {
		return name, nil
	}
	self, err := c.Agent().Self()
	if err != nil {
		return "", err
	}
	end := filepath.Ext(name)
	stem := strings.TrimSuffix(name, end)
	for _, word := range strings.Split(words, ",") {
		key := map[string]string{"version": "Version", "dc": "Datacenter", "node": "NodeName"}[strings.TrimSpace(word)]
		value, _ := self["Config"][key].(string)
		switch {
		case strings.TrimSpace(word) == "status":
			value = "leader" // of one server
		case key == "" || value == "":
			return "", connect.Usagef("-append-filename: %q: want version, dc, node or status, separated by commas", word)
		}
		stem += "-" + value
	}
	return stem + end, nil
}

// keep writes a file that is replaced only by a whole snapshot.
func keep(from io.Reader, name string) (meta archive.Meta, err error) {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-")
	if err != nil {
		return meta, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	meta, err = archive.Read(io.TeeReader(from, f), 0, func(archive.Record) error { return nil })
	if err == nil {
		_, err = io.Copy(f, from) // bytes that may follow the archive's last block
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return meta, err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return meta, err
	}
	return meta, files.SyncFolder(filepath.Dir(name))
}

func newRestore() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Restore a snapshot",
		Long: `Replace the content of the quorum store with a snapshot. Keys, tokens and the rest
that are not in it are lost. "-" is standard input.`,
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

// kindSize is how much of a snapshot is of one kind.
type kindSize struct {
	Kind  string
	Count int
	Size  int // bytes of keys and values
}

func newInspect() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use: "inspect FILE", Short: "Show the content of a snapshot",
		Long: `Check a snapshot and show its time, its author and its size by kind. No agent is
asked.`,
		Args: cobra.ExactArgs(1),
	}
	show.FormatFlag(cmd, &format)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f, err := os.Open(args[0])
		if err != nil {
			return err
		}
		defer f.Close()
		kinds := map[string]*kindSize{}
		meta, err := archive.Read(f, 0, func(r archive.Record) error {
			name := archive.Kind(r.Key)
			k := kinds[name]
			if k == nil {
				k = &kindSize{Kind: name}
				kinds[name] = k
			}
			k.Count++
			k.Size += len(r.Key) + len(r.Value)
			return nil
		})
		if err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		sizes := []*kindSize{}
		for _, name := range slices.Sorted(maps.Keys(kinds)) {
			sizes = append(sizes, kinds[name])
		}
		return inspected(cmd.OutOrStdout(), format, meta, sizes)
	}
	return cmd
}

func inspected(out io.Writer, format string, meta archive.Meta, sizes []*kindSize) error {
	if format == "json" {
		return show.JSON(out, struct {
			Meta  archive.Meta
			Kinds []*kindSize
		}{meta, sizes})
	}
	tw := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "ID\t%s\nIndex\t%d\nTaken\t%s\nDatacenter\t%s\nNode\t%s\nSoftware\t%s\nVersion\t%d\n\n", show.Line(meta.ID), meta.Index,
		meta.Taken.Format(time.RFC3339), show.Line(meta.Datacenter), show.Line(meta.Node), show.Line(meta.Software), meta.Version)
	if err := tw.Flush(); err != nil {
		return err
	}
	t := show.NewTable("Kind", "Count", "Size")
	for _, k := range sizes {
		t.Add(k.Kind, strconv.Itoa(k.Count), strconv.Itoa(k.Size))
	}
	return t.Write(out, "nothing")
}

func decode(from io.Reader, v any) error {
	if err := json.NewDecoder(from).Decode(v); err != nil {
		return fmt.Errorf("the agent's answer cannot be read: %w", err)
	}
	return nil
}
