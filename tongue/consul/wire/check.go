package wire

import (
	"bytes"
	"cmp"
	"encoding/json"
	"reflect"
	"time"

	"github.com/skerryhq/skerry"
)

// Ignored is a field that Consul accepts and that has no meaning here: for the mesh, for
// Enterprise, or of an answer that a client sends back.
type Ignored = json.RawMessage

// Duration is a Go Duration in JSON: a string like "10s", or a number of nanoseconds.
type Duration time.Duration

// UnmarshalJSON implements [json.Unmarshaler].
func (d *Duration) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		if s == "" {
			return nil
		}
		v, err := time.ParseDuration(s)
		*d = Duration(v)
		return err
	}
	if bytes.Equal(b, []byte("null")) {
		return nil
	}
	var n float64
	if err := json.Unmarshal(b, &n); err != nil {
		return err
	}
	*d = Duration(n)
	return nil
}

// CheckBody has the fields of all checks in requests: Consul's names, and the snake_case
// ones that it also accepts.
type CheckBody struct {
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

	Interval, Timeout, TTL         Duration
	DeregisterCriticalServiceAfter Duration
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
	DeregisterCriticalServiceAfterSnake Duration `json:"deregister_critical_service_after"`
}

// NodeCheckBody is a check that is registered by itself, of the node or of a service.
type NodeCheckBody struct {
	ID string
	CheckBody
	Token Ignored
}

// Definition returns the check, or the error that Consul gives for it.
func (c *NodeCheckBody) Definition(legacy bool) (skerry.CheckDefinition, error) {
	d, err := c.CheckBody.Definition(legacy)
	d.ID = c.ID
	return d, err
}

// ServiceCheckBody is a check within a service's registration.
type ServiceCheckBody struct {
	CheckID string
	CheckBody
	ProxyHTTP, ProxyGRPC Ignored
}

// Definition returns the check, or the error that Consul gives for it.
func (c *ServiceCheckBody) Definition(legacy bool) (skerry.CheckDefinition, error) {
	d, err := c.CheckBody.Definition(legacy)
	d.ID = c.CheckID
	return d, err
}

// Definition returns the check, or the error that Consul gives for it. legacy allows Script.
func (c *CheckBody) Definition(legacy bool) (skerry.CheckDefinition, error) {
	args := c.Args
	for _, other := range [][]string{c.ScriptArgs, c.ScriptArgsSnake} {
		if args == nil {
			args = other
		}
	}
	if c.Script != "" {
		if !legacy {
			return skerry.CheckDefinition{}, ErrScript
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

func (c *ServiceCheckBody) empty() bool {
	return reflect.ValueOf(c).Elem().IsZero()
}
