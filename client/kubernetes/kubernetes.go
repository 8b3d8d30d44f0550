// Package kubernetes is the source of a Kubernetes cluster's services: it follows
// their EndpointSlices.
//
//	import _ "github.com/skerryhq/skerry/client/kubernetes"
//
//	c, err := client.Open("k8s:///") // in a pod
//	…
//	for s := range c.Watch(ctx, "prod/orders:grpc") { … }
//
// A service's name is "[namespace/]service[:port]". The port is one of a slice, by
// name, or the number that its pods listen on; without one it is the first TCP port. The
// namespace is, unless said, the URL's host, or else the pod's own. A target of go-zero's,
// "k8s://namespace/service:port", is taken as a name too; there a missing namespace
// means "default". "kubernetes" is the same scheme.
//
// In a pod its service account is used, which must be allowed to get, list and watch
// endpointslices of discovery.k8s.io in the namespace; where it may only read
// endpoints, these are followed instead, with a warning. Elsewhere: parameter kubeconfig
// (a file, with context if its own is not meant) or server (such as kubectl proxy's
// http://127.0.0.1:8001).
//
// Endpoints that are ready take calls. Those that are terminating and still serve are
// draining; those that are not ready are left out. When most become so at once, they are
// held, as instances are that vanish without proof. Endpoints that Kubernetes removes are
// gone.
package kubernetes

import (
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/skerryhq/skerry/client"
)

func init() {
	client.RegisterScheme("k8s", func(l client.Location) (client.Source, error) { return open(l) })
	client.RegisterScheme("kubernetes", func(l client.Location) (client.Source, error) { return open(l) })
}

// Source reads from the API server of one cluster.
type Source struct {
	api       *api
	namespace string // of services whose names do not say
}

func open(l client.Location) (*Source, error) {
	for name := range l.Query {
		if name != "kubeconfig" && name != "context" && name != "server" {
			return nil, fmt.Errorf("client/kubernetes: unknown parameter %q (there are: kubeconfig, context, server)", name)
		}
	}
	switch {
	case l.Path != "":
		return nil, fmt.Errorf("client/kubernetes: the URL names the cluster and a namespace only: give %q to Watch", l.Path)
	case len(l.Hosts) > 1:
		return nil, fmt.Errorf("client/kubernetes: %d namespaces are named: want one at most", len(l.Hosts))
	}
	var a *access
	var err error
	switch file, server := l.Query.Get("kubeconfig"), l.Query.Get("server"); {
	case file != "" && server != "":
		err = fmt.Errorf("kubeconfig and server exclude each other")
	case file != "":
		a, err = fromKubeconfig(file, l.Query.Get("context"))
	case server != "":
		a = &access{server: server}
	default:
		a, err = inCluster(serviceAccount, os.Getenv)
	}
	if err != nil {
		return nil, fmt.Errorf("client/kubernetes: %w", err)
	}
	s := &Source{namespace: a.namespace}
	if len(l.Hosts) == 1 {
		s.namespace = l.Hosts[0]
	}
	if s.namespace == "" {
		s.namespace = defaultNamespace
	}
	if s.api, err = newAPI(a); err != nil {
		return nil, fmt.Errorf("client/kubernetes: %w", err)
	}
	return s, nil
}

const defaultNamespace = "default"

// target is a parsed name of a service.
type target struct {
	namespace, service string
	port               port
}

// port is which of an endpoint's ports is meant: by number, by name, or the first.
type port struct {
	number int
	name   string
}

// parse reads a service's name, or a target of go-zero's.
func (s *Source) parse(name string) (target, error) {
	t := target{namespace: s.namespace}
	rest := name
	for _, scheme := range []string{"k8s://", "kubernetes://"} {
		if after, ok := strings.CutPrefix(name, scheme); ok {
			t.namespace, rest = defaultNamespace, strings.TrimPrefix(after, "/")
		}
	}
	if namespace, service, ok := strings.Cut(rest, "/"); ok {
		t.namespace, rest = namespace, service
	}
	var portName string
	var named bool
	t.service, portName, named = strings.Cut(rest, ":")
	if named {
		t.port.name = portName
		if number, err := strconv.ParseUint(portName, 10, 16); err == nil {
			t.port = port{number: int(number)}
		}
	}
	if portName == "0" {
		t.port = port{}
	} else if named && t.port.number == 0 && (!label(portName) || strings.Trim(portName, "0123456789") == "") {
		return t, fmt.Errorf("client/kubernetes: %q is no service: its port is neither a number nor a name", name)
	}
	if !label(t.namespace) || !label(t.service) {
		return t, fmt.Errorf("client/kubernetes: %q is no service: want [namespace/]service[:port]", name)
	}
	return t, nil
}

// label reports whether s may be the name of an object: RFC 1123 labels.
func label(s string) bool {
	return s != "" && len(s) <= 63 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// slices and endpoints are the two ways in which a service's endpoints are kept.
func (t target) slices() (path string, selector url.Values) {
	return "/apis/discovery.k8s.io/v1/namespaces/" + t.namespace + "/endpointslices",
		url.Values{"labelSelector": {"kubernetes.io/service-name=" + t.service}}
}

func (t target) endpoints() (path string, selector url.Values) {
	return "/api/v1/namespaces/" + t.namespace + "/endpoints",
		url.Values{"fieldSelector": {"metadata.name=" + t.service}}
}
