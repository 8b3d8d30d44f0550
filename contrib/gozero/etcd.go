package gozero

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"net/url"
	"strings"
	_ "unsafe" // for go:linkname

	"github.com/skerryhq/skerry/client"
	"github.com/skerryhq/skerry/client/etcd"
	gozeroconf "github.com/skerryhq/skerry/client/gozero"
)

// zrpc's targets do not carry an Etcd block's account and certificates. It hands them
// to core/discov, which keeps them by hosts and has no exported way to ask for them.
// The test with each supported version holds that these stay what they are.

//go:linkname accountOf github.com/zeromicro/go-zero/core/discov/internal.GetAccount
func accountOf(hosts []string) (account, bool)

//go:linkname tlsOf github.com/zeromicro/go-zero/core/discov/internal.GetTLS
func tlsOf(hosts []string) (*tls.Config, bool)

// account is core/discov/internal.Account.
type account struct{ user, pass string }

// splitEtcd takes a target of etcd's apart, and adds the rest of the Etcd block.
func splitEtcd(target string) (source, service string, err error) {
	source, service, err = gozeroconf.ParseTarget(target)
	if err != nil {
		return "", "", err
	}
	l, err := client.ParseLocation(source)
	if err != nil {
		return "", "", err
	}
	if a, ok := accountOf(l.Hosts); ok {
		l.User = url.UserPassword(a.user, a.pass)
	}
	if config, ok := tlsOf(l.Hosts); ok {
		sum := sha256.Sum256([]byte(strings.Join(l.Hosts, ",")))
		name := "go-zero-" + hex.EncodeToString(sum[:8])
		etcd.RegisterTLS(name, config)
		l.Query.Set("tls", name)
	}
	return l.URL(), service, nil
}
