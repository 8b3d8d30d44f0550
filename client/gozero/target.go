package gozero

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/skerryhq/skerry/client"
)

// ParseTarget splits a target of go-zero's into the URL for [client.Open] and the service
// to watch there.
//
//	direct:///10.0.0.1:80,10.0.0.2:80
//	etcd:///10.0.0.1:2379,10.0.0.2:2379?key=orders.rpc
//	etcd://10.0.0.1:2379/orders.rpc                     as go-zero wrote it until 1.9; discov:// too
//	k8s://namespace/service:port
//	consul://10.0.0.1:8500/orders?tag=v2&dc=dc1&token=…    healthy=false for the unhealthy too
//	nacos://user:password@10.0.0.1:8848/orders?namespaceid=ID&groupName=G&clusters=C
//
// Several hosts are taken in both forms of etcd's. In Kubernetes, no namespace means
// "default", a port is a number or a name, and none, or 0, the first; the parameters
// kubeconfig, context and server are handed on. The error does not quote possible
// secrets.
func ParseTarget(raw string) (sourceURL, service string, err error) {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return "", "", errors.New("client/gozero: the target has no scheme: want etcd:///HOST,…?key=KEY, direct:///HOST:PORT,…, k8s://NAMESPACE/SERVICE:PORT, consul://HOST:PORT/SERVICE or nacos://HOST:PORT/SERVICE")
	}
	fail := func(why string) (string, string, error) {
		return "", "", fmt.Errorf("client/gozero: the %.20q target: %s", strings.ToLower(scheme), why)
	}
	rest, _, _ = strings.Cut(rest, "#")
	rest, rawQuery, _ := strings.Cut(rest, "?")
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return fail("its query cannot be read")
	}
	authority, path, _ := strings.Cut(rest, "/")
	if path, err = url.PathUnescape(path); err != nil {
		return fail("its path cannot be read")
	}
	path = strings.Trim(path, "/")
	switch strings.ToLower(scheme) {
	case "direct":
		if list := fields(path); len(list) > 0 {
			return direct(list)
		}
		return fail("it names no address: want direct:///HOST:PORT,… with three slashes")
	case "etcd", "discov":
		e := Etcd{Hosts: fields(authority), Key: path}
		if authority == "" {
			e.Hosts, e.Key = fields(path), query.Get("key")
		}
		switch {
		case len(e.Hosts) == 0:
			return fail("it names no host: want etcd:///HOST:PORT,…?key=KEY")
		case e.Key == "":
			return fail("it names no key: want etcd:///HOST:PORT,…?key=KEY")
		}
		if sourceURL, err = e.source(); err != nil {
			return fail(err.Error())
		}
		return sourceURL, e.Key, nil
	case "k8s", "kubernetes":
		return kubernetes(authority, path, query, fail)
	case "consul", "nacos":
		return registry(strings.ToLower(scheme), authority, path, query, fail)
	}
	return fail("want one of etcd, discov, direct, k8s, consul, nacos")
}

func kubernetes(namespace, path string, query url.Values, fail func(string) (string, string, error)) (string, string, error) {
	if namespace == "" {
		namespace = "default"
	}
	name, port, _ := strings.Cut(path, ":")
	if name == "" || strings.Contains(path, "/") {
		return fail("want k8s://NAMESPACE/SERVICE:PORT")
	}
	if port == "" {
		path = name
	}
	handed := url.Values{}
	for _, parameter := range []string{"kubeconfig", "context", "server"} {
		if values := query[parameter]; len(values) > 0 {
			handed[parameter] = values
		}
	}
	sourceURL := "k8s:///"
	if len(handed) > 0 {
		sourceURL += "?" + handed.Encode()
	}
	return sourceURL, namespace + "/" + path, nil
}

// fields splits a list at commas, leaving empty ones out.
func fields(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}

// spaceless leaves out all white space.
func spaceless(s string) string { return strings.Join(strings.Fields(s), "") }

// longestName is the longest name of a file, with room for escapes and an ending.
const longestName = 150

// direct returns a fixed list of addresses. The name distinguishes lists that are kept on
// disk.
func direct(addresses []string) (sourceURL, service string, err error) {
	// Commas within are as good as those between, and spaces as good as none.
	list := fields(spaceless(strings.Join(addresses, ",")))
	if len(list) == 0 {
		return "", "", errors.New("client/gozero: Endpoints are all empty")
	}
	service = strings.Join(list, ",")
	for i, a := range list {
		list[i] = url.PathEscape(a)
	}
	sourceURL = "direct:///" + strings.Join(list, ",")
	if len(sourceURL) > longestName {
		sum := sha256.Sum256([]byte(service))
		service = fmt.Sprintf("%.60s,…-%s", service, hex.EncodeToString(sum[:8]))
	}
	return sourceURL, service, nil
}

// source returns the URL of etcd. Hosts are as zrpc takes them: several may stand in one.
func (e *Etcd) source() (string, error) {
	hosts := fields(strings.Join(e.Hosts, ","))
	for _, host := range hosts {
		if strings.ContainsAny(host, "/?#@") || strings.Contains(host, "://") {
			return "", errors.New("a host of etcd is not host:port")
		}
	}
	query := url.Values{"layout": {"gozero"}}
	if e.CertFile != "" && e.CertKeyFile != "" && e.CACertFile != "" {
		query.Set("cert", e.CertFile)
		query.Set("key", e.CertKeyFile)
		query.Set("ca", e.CACertFile)
		if e.InsecureSkipVerify {
			query.Set("skip-verify", "true")
		}
	}
	l := client.Location{Scheme: "etcd", Hosts: hosts, Query: query}
	if e.User != "" && e.Pass != "" {
		l.User = url.UserPassword(e.User, e.Pass)
	}
	return l.URL(), nil
}
