// Package tls is the command tls: a private authority and its certificates,
// in Consul's files.
package tls

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry/cmd/skerry/connect"
	"github.com/skerryhq/skerry/tool/certificate"
)

const day = 24 * time.Hour

// longest is the greatest number of days that a certificate can last: the most that fits
// a duration.
const longest = 100_000

// New returns the command.
func New() *cobra.Command {
	cmd := &cobra.Command{Use: "tls", Short: "Make an authority and certificates for TLS"}
	ca := &cobra.Command{Use: "ca", Short: "Make an authority"}
	ca.AddCommand(newAuthority())
	cert := &cobra.Command{Use: "cert", Short: "Make certificates"}
	cert.AddCommand(newCertificate())
	cmd.AddCommand(ca, cert)
	return cmd
}

type authorityOptions struct {
	commonName, domain, clusterID string
	days                          int
	constrain                     bool
	constraints                   []string
}

func newAuthority() *cobra.Command {
	var o authorityOptions
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make an authority",
		Long: `Make an authority: DOMAIN-agent-ca.pem, which everybody may have, and
DOMAIN-agent-ca-key.pem, which signs and is secret. Files that are there stay.`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&o.commonName, "common-name", "Skerry Agent CA", "`name` of the authority")
	f.StringVar(&o.domain, "domain", "consul", "`domain` of the cluster")
	f.StringVar(&o.clusterID, "cluster-id", "", "`ID` of the cluster; with it the authority is spiffe://ID.DOMAIN")
	f.IntVar(&o.days, "days", 1825, "`number` of days that it is valid for")
	f.BoolVar(&o.constrain, "name-constraint", false, "sign only for localhost, -domain and -additional-name-constraint")
	f.StringArrayVar(&o.constraints, "additional-name-constraint", nil, "one more `domain` to sign for; repeatable, with -name-constraint")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return o.run(cmd.OutOrStdout()) }
	return cmd
}

func (o *authorityOptions) run(out io.Writer) error {
	a := certificate.Authority{CommonName: o.commonName, Lifetime: time.Duration(o.days) * day}
	switch {
	case o.days < 1 || o.days > longest:
		return connect.Usagef("-days: %d: want 1 to %d", o.days, longest)
	case len(o.constraints) > 0 && !o.constrain:
		return connect.Usagef("-additional-name-constraint needs -name-constraint")
	case !plain(o.domain):
		return connect.Usagef("-domain: %q: want a domain name", o.domain)
	}
	if o.constrain {
		a.Domains = append([]string{"localhost", o.domain}, o.constraints...)
	}
	if o.clusterID != "" {
		a.URI = &url.URL{Scheme: "spiffe", Host: strings.ToLower(o.clusterID + "." + o.domain)}
	}
	cert, key := authorityFiles(o.domain)
	for _, name := range []string{cert, key} {
		if _, err := os.Lstat(name); err == nil {
			return fmt.Errorf("%s exists: an authority is not replaced", name)
		}
	}
	pair, err := a.New()
	if err != nil {
		return err
	}
	return save(out, pair, cert, key)
}

func authorityFiles(domain string) (cert, key string) {
	return domain + "-agent-ca.pem", domain + "-agent-ca-key.pem"
}

// plain reports whether a domain can be part of a file's name.
func plain(domain string) bool {
	return domain != "" && !strings.ContainsAny(domain, `/\`) && domain != "." && domain != ".."
}

// save writes both files, which must not be there yet.
func save(out io.Writer, p certificate.Pair, cert, key string) error {
	for _, file := range []struct {
		name string
		data []byte
		mode fs.FileMode
	}{{cert, p.Cert, 0o644}, {key, p.Key, 0o600}} {
		if err := write(file.name, file.data, file.mode); err != nil {
			return err
		}
		fmt.Fprintln(out, "==> Saved", file.name)
	}
	return nil
}

func write(name string, data []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

type certificateOptions struct {
	server, client, cli bool
	dc, domain, node    string
	ca, key             string
	days                int
	names, addresses    []string
}

func newCertificate() *cobra.Command {
	var o certificateOptions
	cmd := &cobra.Command{
		Use:   "create -server|-client|-cli [flags]",
		Short: "Make a certificate",
		Long: `Make a certificate signed by the authority of "tls ca create", with its key:
DC-server-DOMAIN-N.pem and DC-server-DOMAIN-N-key.pem, or client or cli in place
of server. N is the first number that is free.`,
		Example: `  skerry tls ca create
  skerry tls cert create -server -additional-dnsname registry.example.com`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.BoolVar(&o.server, "server", false, "for a server: named server.DC.DOMAIN")
	f.BoolVar(&o.client, "client", false, "for an agent: named client.DC.DOMAIN")
	f.BoolVar(&o.cli, "cli", false, "for the command line: named cli.DC.DOMAIN")
	f.StringVar(&o.dc, "dc", "dc1", "`name` of the datacenter")
	f.StringVar(&o.domain, "domain", "consul", "`domain` of the cluster")
	f.StringVar(&o.node, "node", "", "with -server, also for `name`.server.DC.DOMAIN")
	f.StringVar(&o.ca, "ca", "", "PEM `file` of the authority; default DOMAIN-agent-ca.pem")
	f.StringVar(&o.key, "key", "", "PEM `file` of its key; default DOMAIN-agent-ca-key.pem")
	f.IntVar(&o.days, "days", 365, "`number` of days that it is valid for")
	f.StringArrayVar(&o.names, "additional-dnsname", nil, "also for this DNS `name`; localhost always is; repeatable")
	f.StringArrayVar(&o.addresses, "additional-ipaddress", nil, "also for this `address`; 127.0.0.1 always is, but for -cli; repeatable")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return o.run(cmd.OutOrStdout(), cmd.ErrOrStderr()) }
	return cmd
}

func (o *certificateOptions) run(out, errs io.Writer) error {
	kind, leaf, err := o.leaf()
	if err != nil {
		return err
	}
	var ca certificate.Pair
	cert, key := authorityFiles(o.domain)
	cert, key = connect.First(o.ca, cert), connect.First(o.key, key)
	if ca.Cert, err = os.ReadFile(cert); err != nil {
		return fmt.Errorf("-ca: %w; \"tls ca create\" makes an authority", err)
	}
	if ca.Key, err = os.ReadFile(key); err != nil {
		return fmt.Errorf("-key: %w", err)
	}
	pair, err := leaf.Sign(ca)
	if err != nil {
		return err
	}
	if o.server {
		fmt.Fprintln(errs, "==> WARNING: the holder of a server's certificate can act as a server and read all its data, tokens included.\n"+
			"    Leave it on servers only, and guard its key like the authority's.")
	}
	fmt.Fprintln(out, "==> Using", cert, "and", key)
	return saveFree(out, pair, fmt.Sprintf("%s-%s-%s", o.dc, kind, o.domain))
}

// saveFree writes the files under the first number that is free.
func saveFree(out io.Writer, p certificate.Pair, name string) error {
	for n := 0; ; n++ {
		cert, key := fmt.Sprintf("%s-%d.pem", name, n), fmt.Sprintf("%s-%d-key.pem", name, n)
		if taken(cert) || taken(key) {
			continue
		}
		return save(out, p, cert, key)
	}
}

func taken(name string) bool {
	_, err := os.Lstat(filepath.Clean(name))
	return !errors.Is(err, fs.ErrNotExist)
}

// leaf returns the certificate that the flags ask for, and the word for its kind.
func (o *certificateOptions) leaf() (kind string, l certificate.Leaf, err error) {
	kinds := []string{}
	for name, asked := range map[string]bool{"server": o.server, "client": o.client, "cli": o.cli} {
		if asked {
			kinds = append(kinds, name)
		}
	}
	switch {
	case len(kinds) != 1:
		return "", l, connect.Usagef("give one of -server, -client and -cli")
	case o.days < 1 || o.days > longest:
		return "", l, connect.Usagef("-days: %d: want 1 to %d", o.days, longest)
	case o.node != "" && !o.server:
		return "", l, connect.Usagef("-node needs -server")
	case !plain(o.dc):
		return "", l, connect.Usagef("-dc: %q: want a name", o.dc)
	case !plain(o.domain):
		return "", l, connect.Usagef("-domain: %q: want a domain name", o.domain)
	}
	kind = kinds[0]
	l = certificate.Leaf{
		Name: fmt.Sprintf("%s.%s.%s", kind, o.dc, o.domain), DNSNames: o.names,
		Lifetime: time.Duration(o.days) * day, Server: !o.cli,
	}
	if o.node != "" {
		l.DNSNames = append(l.DNSNames, o.node+"."+l.Name)
	}
	l.DNSNames = append(l.DNSNames, "localhost")
	for _, a := range o.addresses {
		ip := net.ParseIP(a)
		if ip == nil {
			return "", l, connect.Usagef("-additional-ipaddress: %q: want an IP address", a)
		}
		l.IPs = append(l.IPs, ip)
	}
	if !o.cli {
		l.IPs = append(l.IPs, net.IPv4(127, 0, 0, 1))
	}
	return kind, l, nil
}
