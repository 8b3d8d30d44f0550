package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/skerryhq/skerry"
)

// rawJSON is an object that is kept as JSON.
type rawJSON []byte

// service is one service definition as it is written.
type service struct {
	ID                string                     `config:"id"`
	Name              string                     `config:"name"`
	Token             string                     `config:"token"`
	Tags              []string                   `config:"tags"`
	Address           string                     `config:"address"`
	Port              int                        `config:"port"`
	Ports             []skerry.NamedPort         `config:"ports"`
	SocketPath        string                     `config:"socket_path"`
	Meta              map[string]string          `config:"meta"`
	TaggedAddresses   map[string]skerry.Endpoint `config:"tagged_addresses"`
	EnableTagOverride bool                       `config:"enable_tag_override"`
	Weights           skerry.Weights             `config:"weights"`
	Checks            []skerry.CheckDefinition   `config:"checks"`
	Kind              string                     `config:"kind"`
	Proxy             rawJSON                    `config:"proxy"`
	Connect           rawJSON                    `config:"connect"`
	Locality          *skerry.Locality           `config:"locality"`
	ReplaceChecks     bool                       `config:"replace_existing_checks"`
}

func (s *service) registration() skerry.Registration {
	i := &skerry.Instance{
		ID: s.ID, Service: s.Name, Tags: s.Tags, Address: s.Address, Port: s.Port, Weights: s.Weights,
		Meta: s.Meta, TaggedAddresses: s.TaggedAddresses, EnableTagOverride: s.EnableTagOverride,
	}
	if i.ID == "" {
		i.ID = i.Service
	}
	extra := &skerry.Extra{
		Ports: s.Ports, SocketPath: s.SocketPath, Locality: s.Locality,
		Kind: s.Kind, Proxy: s.Proxy, Connect: s.Connect,
	}
	if !reflect.ValueOf(*extra).IsZero() {
		i.Extra = extra
	}
	return skerry.Registration{Instance: i, Checks: s.Checks, Token: s.Token, ReplaceChecks: s.ReplaceChecks}
}

// services decodes one definition or a list of them onto the end of dst.
func (d *decoder) services(dst *[]skerry.Registration, v *value, path string) {
	d.definitions(v, path, func(item *value, at string) {
		s := service{Weights: skerry.Weights{Passing: 1, Warning: 1}}
		before := len(d.errs)
		d.structure(reflect.ValueOf(&s).Elem(), item, at)
		if s.Name == "" && len(d.errs) == before {
			d.errorf(item.line, "%s.name: a service needs a name", at)
		}
		for i := range s.Checks {
			d.judge(&s.Checks[i], item.line, fmt.Sprintf("%s.checks[%d]", at, i))
		}
		if len(d.errs) == before {
			*dst = append(*dst, s.registration())
		}
	})
}

// checks decodes one definition or a list of them onto the end of dst.
func (d *decoder) checks(dst *[]skerry.CheckDefinition, v *value, path string) {
	ofService := strings.HasSuffix(path, "].checks")
	d.definitions(v, path, func(item *value, at string) {
		var c skerry.CheckDefinition
		before := len(d.errs)
		d.structure(reflect.ValueOf(&c).Elem(), item, at)
		if !ofService && len(d.errs) == before {
			if c.Name == "" {
				d.errorf(item.line, "%s.name: a check needs a name", at)
			}
			d.judge(&c, item.line, at)
			if c.ID == "" {
				c.ID = c.Name
			}
		}
		if len(d.errs) == before {
			*dst = append(*dst, c)
		}
	})
}

func (d *decoder) definitions(v *value, path string, each func(item *value, at string)) {
	if !gathers(v) {
		d.wrongType(v, path, "an object or a list of objects")
		return
	}
	for i, item := range v.elements() {
		at := fmt.Sprintf("%s[%d]", path, i)
		if item.kind != object {
			d.wrongType(item, at, "an object")
			continue
		}
		each(item, at)
	}
}

// judge reports errors of a check that are visible without knowing its kind.
func (d *decoder) judge(c *skerry.CheckDefinition, line int, at string) {
	targets := map[string]bool{
		"http": c.HTTP != "", "tcp": c.TCP != "", "udp": c.UDP != "", "grpc": c.GRPC != "", "h2ping": c.H2PING != "",
		"os_service": c.OSService != "", "args": len(c.Args) > 0,
	}
	var runs []string
	for key, set := range targets {
		if set {
			runs = append(runs, key)
		}
	}
	slices.Sort(runs)
	switch {
	case c.TTL < 0 || c.Interval < 0 || c.Timeout < 0 || c.DeregisterCriticalServiceAfter < 0:
		d.errorf(line, "%s: ttl, interval, timeout and deregister_critical_service_after must not be negative", at)
	case c.TTL > 0 && c.Interval > 0 && len(runs) == 0:
		d.errorf(line, "%s: has interval and ttl; keep ttl where the service itself reports, or interval and something to run, such as http or tcp", at)
	case c.TTL > 0 && c.Interval > 0:
		d.errorf(line, "%s: has interval and ttl; keep interval, by which the agent runs %s, or keep ttl alone if the service itself reports", at, runs[0])
	case len(runs) > 0 && c.TTL > 0:
		d.errorf(line, "%s: has ttl and %s; keep ttl alone if the service itself reports, or %s with an interval", at, runs[0], runs[0])
	case len(runs) > 0 && c.Interval <= 0:
		d.errorf(line, `%s.interval: a check with %s needs one, such as "10s"`, at, runs[0])
	case len(runs) == 0 && c.TTL <= 0 && c.AliasNode == "" && c.AliasService == "":
		d.errorf(line, "%s: has nothing to check; it needs ttl, http, tcp, udp, grpc, h2ping, args, os_service, alias_service or alias_node", at)
	}
}

var watchTypes = []string{"key", "keyprefix", "services", "nodes", "service", "checks", "event", "connect_roots", "connect_leaf", "agent_service"}

func (d *decoder) watches(dst *[]Watch, v *value, path string) {
	d.definitions(v, path, func(item *value, at string) {
		w, _ := item.plain().(map[string]any)
		switch kind, _ := w["type"].(string); {
		case kind == "":
			d.errorf(item.line, "%s.type: a watch needs a type", at)
		case !slices.Contains(watchTypes, kind):
			d.errorf(item.line, "%s.type: unknown watch type %q; want one of %s", at, kind, strings.Join(watchTypes[:7], ", "))
		case w["handler"] == nil && w["args"] == nil && w["http_handler_config"] == nil:
			d.errorf(item.line, "%s: a watch needs args or http_handler_config, to run at changes", at)
		default:
			d.watchTimeout(item, at)
			*dst = append(*dst, w)
		}
	})
}

// watchTimeout judges the one duration of a watch, which its library would take for
// nanoseconds.
func (d *decoder) watchTimeout(item *value, at string) {
	for _, m := range item.members {
		if plainKey(m.key) != "httphandlerconfig" {
			continue
		}
		for _, x := range m.value.members {
			if plainKey(x.key) == "timeout" && x.value.kind != null {
				d.duration(x.value, at+".http_handler_config.timeout")
			}
		}
	}
}

// serviceFile is a file with nothing but services and checks.
type serviceFile struct {
	Services []skerry.Registration    `config:"services"`
	Checks   []skerry.CheckDefinition `config:"checks"`
}

// ParseServiceFile reads one service definition file: blocks or lists named
// service(s) and check(s), or the bare JSON of one service as the agent API
// takes it. The name tells HCL from JSON and stands in errors, of which all are
// reported at once, joined. A file that defines nothing is an error. legacy allows
// what legacy_api does.
func ParseServiceFile(name string, data []byte, legacy bool) ([]skerry.Registration, []skerry.CheckDefinition, error) {
	root, err := parse(name, data)
	if err != nil {
		return nil, nil, skerry.Errorf(skerry.Invalid, "%w", err)
	}
	d := &decoder{file: name, set: map[string]bool{}, legacy: legacy}
	var f serviceFile
	if bare(root) {
		d.services(&f.Services, root, "service")
	} else {
		d.structure(reflect.ValueOf(&f).Elem(), root, "")
	}
	if len(d.errs) == 0 && len(f.Services)+len(f.Checks) == 0 {
		d.errorf(0, "no service or check")
	}
	if err := errors.Join(d.errs...); err != nil {
		return nil, nil, err
	}
	return f.Services, f.Checks, nil
}

// bare reports whether a file is one service itself: then it has a name.
func bare(root *value) bool {
	return slices.ContainsFunc(root.members, func(m member) bool { return plainKey(m.key) == "name" })
}

// camel returns the value as JSON in the HTTP API's spelling of keys, in which mesh
// objects are kept. The keys below config are a proxy's own.
func (v *value) camel() any {
	switch v.kind {
	case list:
		out := make([]any, 0, len(v.items))
		for _, i := range v.items {
			out = append(out, i.camel())
		}
		return out
	case object:
		out := make(map[string]any, len(v.members))
		for _, m := range v.members {
			if plainKey(m.key) == "config" {
				out["Config"] = m.value.plain()
			} else {
				out[camelKey(m.key)] = m.value.camel()
			}
		}
		return out
	}
	return v.plain()
}

func camelKey(key string) string {
	parts := strings.Split(key, "_")
	for i, p := range parts {
		switch p {
		case "id", "http", "tcp", "ttl", "udp", "grpc", "tls":
			parts[i] = strings.ToUpper(p)
		case "":
		default:
			parts[i] = strings.ToUpper(p[:1]) + p[1:]
		}
	}
	return strings.Join(parts, "")
}
