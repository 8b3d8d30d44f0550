package consul

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"time"
	"unique"

	"github.com/skerryhq/skerry"
)

// decode reads the body into v. Unknown fields are errors, as in Consul.
func (q *request) decode(v any) error {
	if err := q.readJSON(v); err != nil {
		return decodeError(err)
	}
	return nil
}

// ignored is a field that Consul takes and that means nothing here: for the mesh, for
// Enterprise, or of an answer that a client sends back.
type ignored = json.RawMessage

func decodeError(err error) error {
	var (
		tooBig *http.MaxBytesError
		told   *statusError
	)
	if errors.As(err, &told) {
		return err
	}
	if errors.As(err, &tooBig) {
		return &statusError{http.StatusRequestEntityTooLarge, fmt.Sprintf("Request body too large, max size: %d bytes", tooBig.Limit)}
	}
	return badRequest("Request decode failed: " + err.Error())
}

// duration is a Go duration in JSON: a string like "10s", or a number of nanoseconds.
type duration time.Duration

func (d *duration) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		if s == "" {
			return nil
		}
		v, err := time.ParseDuration(s)
		*d = duration(v)
		return err
	}
	if bytes.Equal(b, []byte("null")) {
		return nil
	}
	var n float64
	if err := json.Unmarshal(b, &n); err != nil {
		return err
	}
	*d = duration(n)
	return nil
}

// checkBody is what all checks in requests have: Consul's names, and the snake_case
// ones that it takes besides.
type checkBody struct {
	Name      string
	Notes     string
	Status    string
	ServiceID string

	Script            string // old Consul's: one string for a shell
	ScriptArgs        []string
	Args              []string
	DockerContainerID string
	Shell             string
	HTTP              string
	Method            string
	Header            map[string][]string
	Body              string
	DisableRedirects  bool
	TCP               string
	TCPUseTLS         bool
	UDP               string
	GRPC              string
	GRPCUseTLS        bool
	H2PING            string
	H2PingUseTLS      *bool
	OSService         string
	TLSServerName     string
	TLSSkipVerify     bool
	AliasNode         string
	AliasService      string

	Interval, Timeout, TTL         duration
	DeregisterCriticalServiceAfter duration
	SuccessBeforePassing           int
	FailuresBeforeWarning          int
	FailuresBeforeCritical         int
	OutputMaxSize                  int

	ServiceIDSnake                      string   `json:"service_id"`
	ScriptArgsSnake                     []string `json:"script_args"`
	DockerContainerIDSnake              string   `json:"docker_container_id"`
	TLSServerNameSnake                  string   `json:"tls_server_name"`
	TLSSkipVerifySnake                  bool     `json:"tls_skip_verify"`
	GRPCUseTLSSnake                     bool     `json:"grpc_use_tls"`
	H2PingUseTLSSnake                   *bool    `json:"h2ping_use_tls"`
	DisableRedirectsSnake               bool     `json:"disable_redirects"`
	DeregisterCriticalServiceAfterSnake duration `json:"deregister_critical_service_after"`
}

// nodeCheckBody is a check that is registered by itself, of the node or of a service.
type nodeCheckBody struct {
	ID string
	checkBody
	Token ignored
}

func (c *nodeCheckBody) definition(legacy bool) (skerry.CheckDefinition, error) {
	d, err := c.checkBody.definition(legacy)
	d.ID = c.ID
	return d, err
}

// serviceCheckBody is a check within a service's registration.
type serviceCheckBody struct {
	CheckID string
	checkBody
	ProxyHTTP, ProxyGRPC ignored
}

func (c *serviceCheckBody) definition(legacy bool) (skerry.CheckDefinition, error) {
	d, err := c.checkBody.definition(legacy)
	d.ID = c.CheckID
	return d, err
}

// definition returns the check, or the error that Consul gives for it.
func (c *checkBody) definition(legacy bool) (skerry.CheckDefinition, error) {
	args := c.Args
	for _, other := range [][]string{c.ScriptArgs, c.ScriptArgsSnake} {
		if args == nil {
			args = other
		}
	}
	if c.Script != "" {
		if !legacy {
			return skerry.CheckDefinition{}, errScript
		}
		args = []string{"/bin/sh", "-c", c.Script}
	}
	d := skerry.CheckDefinition{
		Name: c.Name, Notes: c.Notes, Status: skerry.Health(c.Status),
		ServiceID: cmp.Or(c.ServiceID, c.ServiceIDSnake),
		Args:      args, DockerContainerID: cmp.Or(c.DockerContainerID, c.DockerContainerIDSnake), Shell: c.Shell,
		HTTP: c.HTTP, Method: c.Method, Header: c.Header, Body: c.Body,
		DisableRedirects: c.DisableRedirects || c.DisableRedirectsSnake,
		TCP:              c.TCP, TCPUseTLS: c.TCPUseTLS, UDP: c.UDP,
		GRPC: c.GRPC, GRPCUseTLS: c.GRPCUseTLS || c.GRPCUseTLSSnake, H2PING: c.H2PING,
		H2PingUseTLS: c.H2PING != "", OSService: c.OSService,
		TLSServerName: cmp.Or(c.TLSServerName, c.TLSServerNameSnake), TLSSkipVerify: c.TLSSkipVerify || c.TLSSkipVerifySnake,
		AliasNode: c.AliasNode, AliasService: c.AliasService,
		Interval: time.Duration(c.Interval), Timeout: time.Duration(c.Timeout), TTL: time.Duration(c.TTL),
		DeregisterCriticalServiceAfter: time.Duration(cmp.Or(c.DeregisterCriticalServiceAfter, c.DeregisterCriticalServiceAfterSnake)),
		SuccessBeforePassing:           c.SuccessBeforePassing,
		FailuresBeforeWarning:          c.FailuresBeforeWarning,
		FailuresBeforeCritical:         c.FailuresBeforeCritical,
		OutputMaxSize:                  c.OutputMaxSize,
	}
	for _, tls := range []*bool{c.H2PingUseTLS, c.H2PingUseTLSSnake} {
		if tls != nil {
			d.H2PingUseTLS = *tls
		}
	}
	return d, nil
}

func (c *serviceCheckBody) empty() bool {
	return reflect.ValueOf(c).Elem().IsZero()
}

// serviceBody is a service in a request to the agent.
type serviceBody struct {
	Kind              string
	ID                string
	Name              string
	Tags              []string
	Address           string
	TaggedAddresses   map[string]jsonEndpoint
	Meta              map[string]string
	Port              int
	Ports             []jsonPort
	SocketPath        string
	Check             *serviceCheckBody
	Checks            []*serviceCheckBody
	Weights           *jsonWeights
	Token             ignored
	EnableTagOverride bool
	Locality          *jsonLocality
	Proxy             proxyBody
	Connect           json.RawMessage

	TaggedAddressesSnake   map[string]jsonEndpoint `json:"tagged_addresses"`
	EnableTagOverrideSnake bool                    `json:"enable_tag_override"`
}

// registration returns the service with its checks, or the error that Consul
// gives for it.
func (s *serviceBody) registration(legacy bool) (skerry.Registration, error) {
	var r skerry.Registration
	if s.Name == "" {
		return r, badRequest("Missing service name")
	}
	if s.Address == "0.0.0.0" || s.Address == "::" || s.Address == "[::]" {
		return r, badRequest("Invalid service address")
	}
	if fault := metaFault(s.Meta); fault != "" {
		return r, badRequest("Invalid Service Meta: " + fault)
	}
	w := jsonWeights{1, 1}
	if s.Weights != nil {
		w = *s.Weights
		if w.Passing < 1 {
			return r, badRequest("Invalid Weights: Passing must be greater than 0")
		}
		if w.Warning < 0 {
			return r, badRequest("Invalid Weights: Warning must be greater or equal than 0")
		}
		if w.Passing > 65535 || w.Warning > 65535 {
			return r, badRequest("Invalid Weights: DNS Weight must be between 0 and 65535")
		}
	}
	if s.Port != 0 && len(s.Ports) > 0 {
		return r, badRequest("Invalid service definition: cannot set both port and ports")
	}
	// The decoder leaves room for more tags; most instances live long with one.
	tags := s.Tags
	if tags != nil {
		tags = append(make([]string, 0, len(tags)), tags...)
		for n, tag := range tags {
			tags[n] = unique.Make(tag).Value() // few tags, on many instances
		}
	}
	id := s.ID
	if id == "" || id == s.Name {
		id = s.Name // the same bytes, not a copy
	}
	i := &skerry.Instance{
		ID: id, Service: s.Name, Tags: tags, Address: unique.Make(s.Address).Value(), Port: s.Port,
		Weights: skerry.Weights(w), Meta: s.Meta, EnableTagOverride: s.EnableTagOverride || s.EnableTagOverrideSnake,
	}
	tagged := s.TaggedAddresses
	if tagged == nil {
		tagged = s.TaggedAddressesSnake
	}
	if len(tagged) > 0 {
		i.TaggedAddresses = make(map[string]skerry.Endpoint, len(tagged))
		for k, v := range tagged {
			i.TaggedAddresses[k] = skerry.Endpoint(v)
		}
	}
	i.Extra = instanceExtra(s.Kind, s.SocketPath, s.Ports, s.Locality, s.Proxy.raw, s.Connect)
	r.Instance = i
	bodies := s.Checks
	if s.Check != nil && !s.Check.empty() {
		bodies = append([]*serviceCheckBody{s.Check}, bodies...)
	}
	for _, c := range bodies {
		if c == nil {
			continue
		}
		if c.Status != "" && !skerry.Health(c.Status).Valid() {
			return r, badRequest("Status for checks must 'passing', 'warning', 'critical'")
		}
		d, err := c.definition(legacy)
		if err != nil {
			return r, err
		}
		r.Checks = append(r.Checks, d)
	}
	return r, nil
}

func instanceExtra(kind, socket string, ports []jsonPort, l *jsonLocality, proxy, connect json.RawMessage) *skerry.Extra {
	x := &skerry.Extra{Kind: kind, SocketPath: socket, Proxy: meaningful(proxy), Connect: meaningful(connect)}
	for _, p := range ports {
		x.Ports = append(x.Ports, skerry.NamedPort(p))
	}
	if l != nil {
		x.Locality = &skerry.Locality{Region: l.Region, Zone: l.Zone}
	}
	if x.Kind == "" && x.SocketPath == "" && x.Ports == nil && x.Locality == nil && x.Proxy == nil && x.Connect == nil {
		return nil
	}
	return x
}

// meaningful drops JSON that says nothing.
func meaningful(raw json.RawMessage) []byte {
	var out bytes.Buffer
	if len(raw) == 0 || json.Compact(&out, raw) != nil {
		return nil
	}
	switch out.String() {
	case "null", "{}", string(noProxy):
		return nil
	}
	return out.Bytes()
}

const (
	maxMetaPairs = 64
	maxMetaKey   = 128
	maxMetaValue = 512
)

var metaKey = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)

// metaFault says in Consul's words what is wrong with metadata; "" if nothing is.
func metaFault(meta map[string]string) string {
	if len(meta) > maxMetaPairs {
		return fmt.Sprintf("Node metadata cannot contain more than %d key/value pairs", maxMetaPairs)
	}
	for k, v := range meta {
		var why string
		switch {
		case k == "":
			why = "Key cannot be blank"
		case !metaKey.MatchString(k):
			why = "Key contains invalid characters"
		case len(k) > maxMetaKey:
			why = fmt.Sprintf("Key is too long (limit: %d characters)", maxMetaKey)
		case len(v) > maxMetaValue:
			why = fmt.Sprintf("Value is too long (limit: %d characters)", maxMetaValue)
		default:
			continue
		}
		return fmt.Sprintf("Couldn't load metadata pair ('%s', '%s'): %s", k, v, why)
	}
	return ""
}
