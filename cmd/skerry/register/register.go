// Package register translates services and checks into those of the agent's HTTP API.
package register

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/skerryhq/skerry"
)

// Check is a check as the agent API takes it, with fields that the library's type lacks.
type Check struct {
	api.AgentServiceCheck
	ID               string `json:",omitempty"` // of checks that are registered alone
	ServiceID        string `json:",omitempty"`
	DisableRedirects bool   `json:",omitempty"`
	OSService        string `json:",omitempty"`
	OutputMaxSize    int    `json:",omitempty"`
}

// Service is a service as the agent API takes it.
type Service struct {
	api.AgentServiceRegistration
	Check  *Check  `json:",omitempty"` // hides the library's
	Checks []Check `json:",omitempty"`
}

// CheckOf translates a check of a service.
func CheckOf(d skerry.CheckDefinition) Check {
	return Check{
		AgentServiceCheck: api.AgentServiceCheck{
			CheckID: d.ID, Name: d.Name, Notes: d.Notes, Status: string(d.Status), Args: d.Args,
			DockerContainerID: d.DockerContainerID, Shell: d.Shell,
			Interval: inText(d.Interval), Timeout: inText(d.Timeout), TTL: inText(d.TTL),
			HTTP: d.HTTP, Header: d.Header, Method: d.Method, Body: d.Body, TCP: d.TCP, TCPUseTLS: d.TCPUseTLS, UDP: d.UDP,
			GRPC: d.GRPC, GRPCUseTLS: d.GRPCUseTLS, H2PING: d.H2PING, H2PingUseTLS: d.H2PingUseTLS,
			TLSServerName: d.TLSServerName, TLSSkipVerify: d.TLSSkipVerify, AliasNode: d.AliasNode, AliasService: d.AliasService,
			SuccessBeforePassing: d.SuccessBeforePassing, FailuresBeforeWarning: d.FailuresBeforeWarning,
			FailuresBeforeCritical:         d.FailuresBeforeCritical,
			DeregisterCriticalServiceAfter: inText(d.DeregisterCriticalServiceAfter),
		},
		DisableRedirects: d.DisableRedirects, OSService: d.OSService, OutputMaxSize: d.OutputMaxSize,
	}
}

func inText(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

// ServiceOf translates a service with its checks. An error names the invalid part of its
// mesh configuration.
func ServiceOf(r skerry.Registration) (Service, error) {
	i := r.Instance
	b := Service{AgentServiceRegistration: api.AgentServiceRegistration{
		ID: i.ID, Name: i.Service, Tags: i.Tags, Address: i.Address, Port: i.Port, Meta: i.Meta,
		EnableTagOverride: i.EnableTagOverride, Weights: &api.AgentWeights{Passing: i.Weights.Passing, Warning: i.Weights.Warning},
	}}
	for tag, e := range i.TaggedAddresses {
		if b.TaggedAddresses == nil {
			b.TaggedAddresses = map[string]api.ServiceAddress{}
		}
		b.TaggedAddresses[tag] = api.ServiceAddress{Address: e.Address, Port: e.Port}
	}
	for _, d := range r.Checks {
		b.Checks = append(b.Checks, CheckOf(d))
	}
	x := i.Extra
	if x == nil {
		return b, nil
	}
	b.Kind, b.SocketPath = api.ServiceKind(x.Kind), x.SocketPath
	for _, p := range x.Ports {
		b.Ports = append(b.Ports, api.ServicePort{Name: p.Name, Port: p.Port, Default: p.Default})
	}
	if l := x.Locality; l != nil {
		b.Locality = &api.Locality{Region: l.Region, Zone: l.Zone}
	}
	if len(x.Proxy) > 0 {
		if err := json.Unmarshal(x.Proxy, &b.Proxy); err != nil {
			return b, fmt.Errorf("service %s: proxy: %w", i.ID, err)
		}
	}
	if len(x.Connect) > 0 {
		if err := json.Unmarshal(x.Connect, &b.Connect); err != nil {
			return b, fmt.Errorf("service %s: connect: %w", i.ID, err)
		}
	}
	return b, nil
}

// NodeCheckOf translates a check that is registered alone: of the node, or of the
// service it names.
func NodeCheckOf(d skerry.CheckDefinition) Check {
	b := CheckOf(d)
	b.ID, b.CheckID, b.ServiceID = d.ID, "", d.ServiceID
	return b
}
