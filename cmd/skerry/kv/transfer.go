package kv

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/hashicorp/consul/api"
	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/cmd/skerry/connect"
)

// entry is a key in the files of kv export. They are Consul's.
type entry struct {
	Key   string `json:"key"`
	Flags uint64 `json:"flags"`
	Value []byte `json:"value"` // in base64
}

func newExport() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "export [PREFIX]",
		Short:   "Print all keys with a prefix as JSON",
		Long:    "Print all keys with a prefix as JSON, for kv import here or in Consul.",
		Example: "  skerry kv export app/ > app.json",
		Args:    cobra.MaximumNArgs(1),
	}
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, args []string, out io.Writer) error {
		prefix := ""
		if len(args) > 0 {
			prefix = keyOf(args[0])
		}
		pairs, _, err := c.KV().List(prefix, c.Options(ctx))
		if err != nil {
			return err
		}
		entries := make([]entry, len(pairs))
		for i, p := range pairs {
			entries[i] = entry{p.Key, p.Flags, append([]byte{}, p.Value...)} // never null
		}
		e := json.NewEncoder(out)
		e.SetEscapeHTML(false)
		e.SetIndent("", "\t")
		return e.Encode(entries)
	})
}

func newImport() *cobra.Command {
	var prefix string
	cmd := &cobra.Command{
		Use:   "import [-prefix PREFIX] DATA",
		Short: "Write the keys that kv export printed",
		Long: `Write the keys that kv export, ours or Consul's, printed. DATA is the JSON, "-"
for standard input, or "@FILE". Nothing is written before all of it is
understood; a key that is there is overwritten.`,
		Example: "  skerry kv import @app.json",
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&prefix, "prefix", "", "`prefix` to put before the keys, as a folder")
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, args []string, out io.Writer) error {
		data, err := connect.Argument(cmd, args[0])
		if err != nil {
			return err
		}
		entries, err := parseEntries(data, prefix)
		if err != nil {
			return err
		}
		for i, e := range entries {
			if _, err := c.KV().Put(&api.KVPair{Key: e.Key, Flags: e.Flags, Value: e.Value}, c.WriteOptions(ctx)); err != nil {
				return fmt.Errorf("%d of %d keys are written, then %s: %w", i, len(entries), e.Key, err)
			}
			fmt.Fprintln(out, "Imported:", e.Key)
		}
		return nil
	})
}

// parseEntries reads the output of kv export, and puts a prefix before the keys.
func parseEntries(data []byte, prefix string) ([]entry, error) {
	var entries []entry
	d := json.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(&entries); err != nil {
		return nil, skerry.Errorf(skerry.Invalid, "not the JSON of kv export: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, skerry.Errorf(skerry.Invalid, "not the JSON of kv export: there is more after the list")
	}
	for i := range entries {
		key := keyOf(entries[i].Key)
		if key == "" {
			return nil, skerry.Errorf(skerry.Invalid, "entry %d of the list has no key", i)
		}
		if strings.HasPrefix(key, "/") {
			return nil, skerry.Errorf(skerry.Invalid, "entry %d of the list: the key %q begins with more than one slash", i, entries[i].Key)
		}
		if folder := strings.Trim(prefix, "/"); folder != "" {
			key = folder + "/" + key
		}
		entries[i].Key = key
	}
	return entries, nil
}
