package client

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Schemes returns the schemes of the sources that are imported, sorted.
func Schemes() []string {
	schemesMu.Lock()
	defer schemesMu.Unlock()
	return slices.Sorted(maps.Keys(schemes))
}

// SplitTarget splits a target that names a service together with its source: the last
// part of the path is the service, and the rest is the source's URL, for [Open].
//
//	skerry://127.0.0.1:8500/orders       skerry://127.0.0.1:8500/    orders
//	etcd://h1:2379,h2:2379/orders.rpc    etcd://h1:2379,h2:2379/     orders.rpc
//	zookeeper://h1:2181/services/orders  zookeeper://h1:2181/services orders
//	k8s://prod/orders:grpc               k8s://prod/                 orders:grpc
//
// Where a URL cannot name several hosts, as a target of gRPC's, they may stand after
// three slashes: etcd:///h1:2379,h2:2379/orders.rpc. In direct:///a:80,b:80 they are
// all that there is; the service is called direct then.
func SplitTarget(target string) (source, service string, err error) {
	scheme, rest, ok := strings.Cut(target, "://")
	if !ok || scheme == "" {
		return "", "", fmt.Errorf("client: the target %q has no scheme: want one such as skerry://127.0.0.1:8500/SERVICE", Redact(target))
	}
	if strings.EqualFold(scheme, "direct") {
		return target, "direct", nil
	}
	rest, query, _ := strings.Cut(rest, "?")
	hosts, path, _ := strings.Cut(rest, "/")
	if first, left, more := strings.Cut(path, "/"); hosts == "" && more && strings.ContainsAny(first, ":,") {
		hosts, path = first, left
	}
	at := strings.LastIndexByte(path, '/') + 1
	if service = path[at:]; service == "" {
		return "", "", fmt.Errorf("client: the target %q names no service: want %s://HOST/SERVICE", Redact(target), scheme)
	}
	source = scheme + "://" + hosts + "/" + strings.TrimSuffix(path[:at], "/")
	if query != "" {
		source += "?" + query
	}
	return source, service, nil
}
