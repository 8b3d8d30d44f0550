package kv

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"strings"

	"github.com/hashicorp/consul/api"
	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry/cmd/skerry/connect"
	"github.com/skerryhq/skerry/cmd/skerry/singledash"
)

type putOptions struct {
	cas, base64, acquire, release bool
	index, flags                  uint64
	session                       string
}

func newPut() *cobra.Command {
	var o putOptions
	cmd := &cobra.Command{
		Use:   "put [flags] KEY [VALUE]",
		Short: "Write a key",
		Long: `Write a key. VALUE may be "-" for standard input or "@FILE" for the contents of a
file; without one the value is empty.`,
		Example: `  skerry kv put app/config/port 8080
  skerry kv put app/config/tls @tls.json
  skerry kv put -cas -modify-index 0 app/once done`,
		Args: cobra.RangeArgs(1, 2),
	}
	f := cmd.Flags()
	f.BoolVar(&o.cas, "cas", false, "write only if the key is as it was at -modify-index")
	f.Uint64Var(&o.index, "modify-index", 0, "`index` of the key's last change, with -cas; 0: the key must not be there")
	f.Uint64Var(&o.flags, "flags", 0, "`number` to keep with the value")
	f.BoolVar(&o.base64, "base64", false, "the value is given in base64")
	f.BoolVar(&o.acquire, "acquire", false, "lock the key for -session, and write only if that succeeds")
	f.BoolVar(&o.release, "release", false, "unlock the key, which -session holds")
	f.StringVar(&o.session, "session", "", "`ID` of the session, with -acquire and -release")
	singledash.StopAtArgument(cmd) // a value may begin with a dash
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, args []string, out io.Writer) error {
		p := &api.KVPair{Key: keyOf(args[0]), Flags: o.flags, Session: o.session, ModifyIndex: o.index}
		if err := o.check(cmd, p.Key); err != nil {
			return err
		}
		if len(args) > 1 {
			var err error
			if p.Value, err = connect.Argument(cmd, args[1]); err != nil {
				return err
			}
		}
		if o.base64 {
			value, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(p.Value)))
			if err != nil {
				return connect.Usagef("-base64: the value is not base64: %v", err)
			}
			p.Value = value
		}
		return o.write(ctx, c, p, out)
	})
}

func (o *putOptions) check(cmd *cobra.Command, key string) error {
	kinds := 0
	for _, set := range []bool{o.cas, o.acquire, o.release} {
		if set {
			kinds++
		}
	}
	switch {
	case key == "":
		return connect.Usagef("the key must not be empty")
	case kinds > 1:
		return connect.Usagef("-cas, -acquire and -release exclude each other")
	case (o.acquire || o.release) && o.session == "":
		return connect.Usagef("-acquire and -release need -session")
	case o.session != "" && !o.acquire && !o.release:
		return connect.Usagef("-session needs -acquire or -release")
	case cmd.Flags().Changed("modify-index") && !o.cas:
		return connect.Usagef("-modify-index needs -cas")
	}
	return nil
}

func (o *putOptions) write(ctx context.Context, c *connect.Connection, p *api.KVPair, out io.Writer) error {
	w := c.WriteOptions(ctx)
	said, refused := "Success! Data written to:", ""
	done := true
	var err error
	switch {
	case o.cas:
		done, _, err = c.KV().CAS(p, w)
		refused = "did not write to %s: it has changed since -modify-index, or exists"
	case o.acquire:
		done, _, err = c.KV().Acquire(p, w)
		said, refused = "Success! Lock acquired on:", "did not acquire the lock on %s: another session holds it, or lock-delay holds it back"
	case o.release:
		done, _, err = c.KV().Release(p, w)
		said, refused = "Success! Lock released on:", "did not release the lock on %s: this session does not hold it"
	default:
		_, err = c.KV().Put(p, w)
	}
	if err != nil {
		return err
	}
	if !done {
		return fmt.Errorf(refused, p.Key)
	}
	_, err = fmt.Fprintln(out, said, p.Key)
	return err
}

func newDelete() *cobra.Command {
	var cas, recurse bool
	var index uint64
	cmd := &cobra.Command{
		Use:   "delete [flags] KEY or PREFIX",
		Short: "Delete a key, or all keys with a prefix",
		Long:  "Delete a key, or with -recurse all keys with a prefix. That there are none is no error.",
		Args:  cobra.ExactArgs(1),
	}
	f := cmd.Flags()
	f.BoolVar(&cas, "cas", false, "delete only if the key is as it was at -modify-index")
	f.Uint64Var(&index, "modify-index", 0, "`index` of the key's last change, with -cas")
	f.BoolVar(&recurse, "recurse", false, "delete all keys with the prefix")
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, args []string, out io.Writer) error {
		key := keyOf(args[0])
		switch {
		case key == "" && !recurse:
			return connect.Usagef("the key must not be empty; -recurse with an empty prefix deletes all keys")
		case cas && recurse:
			return connect.Usagef("-cas and -recurse exclude each other")
		case cas && index == 0:
			return connect.Usagef("-cas needs -modify-index, greater than 0")
		case !cas && index != 0:
			return connect.Usagef("-modify-index needs -cas")
		}
		w := c.WriteOptions(ctx)
		said := "Success! Deleted key:"
		var err error
		switch {
		case recurse:
			said = "Success! Deleted keys with prefix:"
			_, err = c.KV().DeleteTree(key, w)
		case cas:
			var done bool
			if done, _, err = c.KV().DeleteCAS(&api.KVPair{Key: key, ModifyIndex: index}, w); err == nil && !done {
				err = fmt.Errorf("did not delete %s: it has changed since -modify-index", key)
			}
		default:
			_, err = c.KV().Delete(key, w)
		}
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(out, said, key)
		return err
	})
}
