package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/cmd/skerry/register"
	"github.com/skerryhq/skerry/cmd/skerry/show"
	"github.com/skerryhq/skerry/config"
)

func newServicesCommand() *cobra.Command {
	return group("services", "Register, withdraw and list the services of this agent",
		newServicesRegisterCommand(), newServicesDeregisterCommand(), newServicesListCommand(), newServicesWatchCommand())
}

// serviceFlags describe one instance on the command line.
type serviceFlags struct {
	id, name, address string
	port              int
	tags, meta        []string
}

func (s *serviceFlags) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.name, "name", "", "`name` of the service")
	f.StringVar(&s.id, "id", "", "`ID` of the instance; default the name")
	f.StringVar(&s.address, "address", "", "`address` of the instance; default the node's")
	f.IntVar(&s.port, "port", 0, "`port` of the instance")
	f.StringArrayVar(&s.tags, "tag", nil, "a `tag`; repeatable")
	f.StringArrayVar(&s.meta, "meta", nil, "`key=value` of metadata; repeatable")
}

func (s *serviceFlags) instance() (*skerry.Instance, error) {
	if s.port < 0 || s.port > 65535 {
		return nil, usageError(fmt.Sprintf("-port: %d: want 0 to 65535", s.port))
	}
	meta, err := pairs("-meta", s.meta)
	if err != nil {
		return nil, err
	}
	return &skerry.Instance{
		ID: first(s.id, s.name), Service: s.name, Address: s.address, Port: s.port, Tags: s.tags, Meta: meta,
		Weights: skerry.Weights{Passing: 1, Warning: 1},
	}, nil
}

// extraFlags are the further flags of services register.
type extraFlags struct {
	kind, socket string
	tagged       []string
}

func (x *extraFlags) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&x.kind, "kind", "", "`kind` of the service; one of the mesh has no effect")
	f.StringVar(&x.socket, "socket", "", "`path` of a unix socket, in place of address and port")
	f.StringArrayVar(&x.tagged, "tagged-address", nil, "`tag=address:port`, as in wan=192.0.2.1:80; repeatable")
}

func (x *extraFlags) fill(i *skerry.Instance) error {
	if x.kind != "" || x.socket != "" {
		i.Extra = &skerry.Extra{Kind: x.kind, SocketPath: x.socket}
	}
	if x.socket != "" && (i.Address != "" || i.Port != 0) {
		return usageError("-socket is in place of -address and -port")
	}
	for _, given := range x.tagged {
		tag, where, ok := strings.Cut(given, "=")
		e := skerry.Endpoint{Address: where}
		if host, port, err := net.SplitHostPort(where); err == nil {
			n, err := strconv.ParseUint(port, 10, 16)
			if err != nil {
				return usageError(fmt.Sprintf("-tagged-address: %q: want a port from 0 to 65535", given))
			}
			e = skerry.Endpoint{Address: host, Port: int(n)}
		}
		if !ok || tag == "" || e.Address == "" {
			return usageError(fmt.Sprintf("-tagged-address: %q: want tag=address or tag=address:port", given))
		}
		if i.TaggedAddresses == nil {
			i.TaggedAddresses = map[string]skerry.Endpoint{}
		}
		i.TaggedAddresses[tag] = e
	}
	return nil
}

func newServicesRegisterCommand() *cobra.Command {
	var s serviceFlags
	var x extraFlags
	var replace bool
	cmd := &cobra.Command{
		Use:   "register [FILE...]",
		Short: "Register services",
		Long: `Register services at the agent, by flags or from definition files in HCL or
JSON; "-" is standard input. Registering a service again changes nothing.`,
		Example: `  skerry services register -name web -port 8080 -tag v1
  skerry services register web.hcl`,
	}
	s.flags(cmd)
	x.flags(cmd)
	cmd.Flags().BoolVar(&replace, "replace-existing-checks", false, "withdraw the checks of these services that are not named")
	return client(cmd, func(ctx context.Context, c *connection, args []string, out io.Writer) error {
		services, checks, err := definitions(cmd, s, args)
		if err == nil && len(args) == 0 {
			err = x.fill(services[0].Instance)
		}
		if err != nil {
			return err
		}
		for _, r := range services {
			r.ReplaceChecks = r.ReplaceChecks || replace
			if err := registerService(ctx, c, r); err != nil {
				return err
			}
			fmt.Fprintln(out, "Registered service:", show.Line(r.Instance.Service))
		}
		for _, d := range checks {
			if err := registerCheck(ctx, c, d); err != nil {
				return err
			}
			fmt.Fprintln(out, "Registered check:", show.Line(d.Name))
		}
		return nil
	})
}

// definitions reads the definitions in flags or files. Nothing is sent before all of it
// could be read.
func definitions(cmd *cobra.Command, s serviceFlags, files []string) ([]skerry.Registration, []skerry.CheckDefinition, error) {
	switch {
	case s.name == "" && len(files) == 0:
		return nil, nil, usageError("name a service with -name, or give definition files")
	case len(files) == 0:
		i, err := s.instance()
		return []skerry.Registration{{Instance: i}}, nil, err
	case s.name != "" || s.id != "":
		return nil, nil, usageError("flags and files exclude each other")
	}
	var services []skerry.Registration
	var checks []skerry.CheckDefinition
	for _, name := range files {
		data, err := readFile(cmd, name)
		if err != nil {
			return nil, nil, err
		}
		ss, cs, err := config.ParseServiceFile(name, data, false)
		if err != nil {
			return nil, nil, err
		}
		services, checks = append(services, ss...), append(checks, cs...)
	}
	return services, checks, nil
}

func readFile(cmd *cobra.Command, name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(cmd.InOrStdin())
	}
	return os.ReadFile(name)
}

func newServicesDeregisterCommand() *cobra.Command {
	var id string
	var drain time.Duration
	cmd := &cobra.Command{
		Use:   "deregister [-id ID] [FILE...]",
		Short: "Withdraw services",
		Long: `Withdraw services from the agent, by the ID or by the files that they were registered with.
With -drain the command ends when all readers of a service have the list without it,
and prints their number: the program can stop then without a failed call.`,
		Example: "  skerry services deregister -id web-1 -drain 30s && systemctl stop web",
	}
	cmd.Flags().StringVar(&id, "id", "", "`ID` of the instance")
	cmd.Flags().DurationVar(&drain, "drain", 0, "longest `time` to wait for the readers of each service, at most 10m; default: they are not waited for")
	return client(cmd, func(ctx context.Context, c *connection, args []string, out io.Writer) error {
		services, checks := []skerry.Registration{}, []skerry.CheckDefinition{}
		if drain < 0 {
			return usageError("-drain must not be negative")
		}
		switch {
		case id != "" && len(args) > 0:
			return usageError("-id and files exclude each other")
		case id != "":
			services = append(services, skerry.Registration{Instance: &skerry.Instance{ID: id}})
		default:
			var err error
			if services, checks, err = definitions(cmd, serviceFlags{}, args); err != nil {
				return err
			}
		}
		for _, r := range services {
			count, err := deregister(ctx, c, r.Instance.ID, drain)
			if err != nil {
				return err
			}
			fmt.Fprintln(out, "Deregistered service:", show.Line(r.Instance.ID))
			if drain > 0 {
				fmt.Fprintln(out, sentence(count))
			}
		}
		for _, d := range checks {
			if err := c.Agent().CheckDeregisterOpts(d.ID, c.Options(ctx)); err != nil {
				return err
			}
			fmt.Fprintln(out, "Deregistered check:", show.Line(d.ID))
		}
		return nil
	})
}

func newServicesListCommand() *cobra.Command {
	var format, filter string
	cmd := &cobra.Command{Use: "list", Short: "List the services of this agent", Args: cobra.NoArgs}
	show.FormatFlag(cmd, &format)
	cmd.Flags().StringVar(&filter, "filter", "", "only services for which the `expression` is true")
	return client(cmd, func(ctx context.Context, c *connection, _ []string, out io.Writer) error {
		all, err := c.Agent().ServicesWithFilterOpts(filter, c.Options(ctx))
		if err != nil {
			return err
		}
		services := make([]*api.AgentService, 0, len(all))
		for _, id := range slices.Sorted(maps.Keys(all)) {
			services = append(services, all[id])
		}
		if format == "json" {
			return show.JSON(out, services)
		}
		t := show.NewTable("ID", "Service", "Address", "Tags")
		for _, s := range services {
			t.Add(s.ID, s.Service, net.JoinHostPort(s.Address, strconv.Itoa(s.Port)), strings.Join(s.Tags, ","))
		}
		return t.Write(out, "no services")
	})
}

// registerService registers a service with its checks.
func registerService(ctx context.Context, c *connection, r skerry.Registration) error {
	body, err := register.ServiceOf(r)
	if err != nil {
		return err
	}
	query := url.Values{}
	if r.ReplaceChecks {
		query.Set("replace-existing-checks", "true")
	}
	return c.Do(ctx, http.MethodPut, "/v1/agent/service/register", query, body, nil)
}

// registerCheck registers a check of the node, or of a service that is there.
func registerCheck(ctx context.Context, c *connection, d skerry.CheckDefinition) error {
	return c.Do(ctx, http.MethodPut, "/v1/agent/check/register", nil, register.NodeCheckOf(d), nil)
}
