// Package pki proves what a process of a cluster is. The cluster has an authority of its own, which signs certificates with
// the datacenter, the kind and the node of a process. Connections between processes need one on either side.
package pki

import (
	"crypto/x509"
	"net/url"
	"strings"

	"github.com/skerryhq/skerry"
)

// Kind is a kind of processes.
type Kind string

const (
	// Agent is a process beside programs. It dials servers.
	Agent Kind = "agent"
	// Server is a process that holds the catalog.
	Server Kind = "server"
)

// Name is the name of a process. A certificate has it as a URI, skerry://DATACENTER/KIND/NODE.
type Name struct {
	Datacenter string
	Kind       Kind
	Node       string
}

const (
	scheme = "skerry"
	// maxNode is the length of the longest node name, in bytes.
	maxNode = 255
)

// URI returns the name as a certificate has it.
func (n Name) URI() *url.URL {
	return &url.URL{Scheme: scheme, Host: n.Datacenter, Path: "/" + string(n.Kind) + "/" + n.Node}
}

// String returns the URI as text.
func (n Name) String() string { return n.URI().String() }

// Check returns an error that names the part which is not valid. Its kind is [skerry.Invalid].
func (n Name) Check() error {
	switch {
	case n.Datacenter == "" || n.Datacenter != strings.ToLower(n.Datacenter) || strings.ContainsAny(n.Datacenter, "/:@?#%. "):
		return skerry.Errorf(skerry.Invalid, "datacenter %q: want lower-case letters, digits, - and _", n.Datacenter)
	case n.Kind != Agent && n.Kind != Server:
		return skerry.Errorf(skerry.Invalid, "kind %q: want agent or server", n.Kind)
	case n.Node == "" || len(n.Node) > maxNode || strings.ContainsAny(n.Node, "/\x00"):
		return skerry.Errorf(skerry.Invalid, "node %q: want 1 to %d bytes without /", n.Node, maxNode)
	}
	return nil
}

// Of returns the name in a certificate. An error means that the authority did not sign it for a process.
func Of(c *x509.Certificate) (Name, error) {
	if len(c.URIs) != 1 || c.URIs[0].Scheme != scheme {
		return Name{}, skerry.Errorf(skerry.Denied, "the certificate %q names no process of a cluster", c.Subject)
	}
	u := c.URIs[0]
	kind, node, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	n := Name{Datacenter: u.Host, Kind: Kind(kind), Node: node}
	if err := n.Check(); err != nil {
		return Name{}, skerry.Errorf(skerry.Denied, "the certificate %q names no process of a cluster: %v", c.Subject, err)
	}
	return n, nil
}

// ServerName returns the DNS name that the certificates of the servers of a datacenter have, and of no agent. A process that
// dials a server requires it.
func ServerName(datacenter string) string { return "server." + datacenter + "." + scheme }
