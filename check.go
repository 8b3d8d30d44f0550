package skerry

import "time"

// CheckDefinition configures a check that package check runs. Exactly one of the
// targets (TTL, HTTP, TCP, …) should be set; of several, the first in the order
// of package check's table counts.
type CheckDefinition struct {
	ID        string `json:"id,omitempty"`   // default "service:<service id>[:n]", else the name
	Name      string `json:"name,omitempty"` // default "Service '<name>' check"
	Notes     string `json:"notes,omitempty"`
	Status    Health `json:"status,omitempty"`     // before the first result; default critical
	ServiceID string `json:"service_id,omitempty"` // the instance it judges; empty: the node

	TTL      time.Duration `json:"ttl,omitempty"`      // critical unless refreshed within it
	Interval time.Duration `json:"interval,omitempty"` // from the end of one run to the start of the next
	Timeout  time.Duration `json:"timeout,omitempty"`  // of one run; default 10 s, scripts 30 s

	Args              []string `json:"args,omitempty"` // script: program and arguments
	DockerContainerID string   `json:"docker_container_id,omitempty"`
	Shell             string   `json:"shell,omitempty"` // docker: the shell that runs Args; default the container's $SHELL, else /bin/sh

	HTTP             string              `json:"http,omitempty"` // a URL
	Method           string              `json:"method,omitempty"`
	Header           map[string][]string `json:"header,omitempty"`
	Body             string              `json:"body,omitempty"`
	DisableRedirects bool                `json:"disable_redirects,omitempty"`

	TCP          string `json:"tcp,omitempty"` // host:port
	TCPUseTLS    bool   `json:"tcp_use_tls,omitempty"`
	UDP          string `json:"udp,omitempty"`  // host:port
	GRPC         string `json:"grpc,omitempty"` // host:port[/service]
	GRPCUseTLS   bool   `json:"grpc_use_tls,omitempty"`
	H2PING       string `json:"h2ping,omitempty"` // host:port
	H2PingUseTLS bool   `json:"h2ping_use_tls,omitempty"`
	OSService    string `json:"os_service,omitempty"` // a systemd unit

	TLSServerName string `json:"tls_server_name,omitempty"`
	TLSSkipVerify bool   `json:"tls_skip_verify,omitempty"`

	AliasNode    string `json:"alias_node,omitempty"`
	AliasService string `json:"alias_service,omitempty"` // an instance ID

	// Thresholds: runs in a row before the state follows. 0 and 1 mean at once.
	SuccessBeforePassing   int `json:"success_before_passing,omitempty"`
	FailuresBeforeWarning  int `json:"failures_before_warning,omitempty"`
	FailuresBeforeCritical int `json:"failures_before_critical,omitempty"`

	// DeregisterCriticalServiceAfter withdraws the instance once its check has
	// been critical for so long. 0: never.
	DeregisterCriticalServiceAfter time.Duration `json:"deregister_critical_service_after,omitempty"`
	OutputMaxSize                  int           `json:"output_max_size,omitempty"` // bytes kept of the output; default 4096
}
