package config

import (
	"net/url"
	"strings"
)

// Quorum is the quorum store: keys, locks, sessions, tokens, queries, external services.
type Quorum struct {
	// Endpoints are those of an existing etcd cluster (3.5 or newer, --max-txn-ops=1024)
	// that keeps the quorum store, like https://etcd-1:2379; none: a server keeps them
	// itself, in data_dir.
	Endpoints []string `config:"endpoints,S"`
	// Prefix is what all keys in that cluster begin with; default "skerry/".
	Prefix string `config:"prefix,S"`
	// User is the etcd user to act as; none: without authentication.
	User string `config:"user,S"`
	// Password is the user's.
	Password string `config:"password,S"`
	// CAFile is a PEM file of the authorities that the cluster's certificates must come from; default the system's.
	CAFile string `config:"ca_file,S"`
	// CertFile is the PEM file of the client's certificate, where the cluster asks for one.
	CertFile string `config:"cert_file,S"`
	// KeyFile is the PEM file of its key.
	KeyFile string `config:"key_file,S"`
	// Quota is the most bytes of a server's own data file, at least 64 MiB; default 8 GiB. At it, writes are refused and reads go on.
	Quota int `config:"quota,S"`
}

func (v *validator) quorum() {
	q := v.c.Quorum
	for i, e := range q.Endpoints {
		u, err := url.Parse(e)
		if strings.Contains(e, "://") && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") || e == "" {
			v.bad("quorum.endpoints[%d]: %q is not an etcd endpoint such as https://etcd-1:2379", i, e)
		}
	}
	if len(q.Endpoints) == 0 {
		for key, set := range map[string]string{"prefix": q.Prefix, "user": q.User, "password": q.Password, "ca_file": q.CAFile, "cert_file": q.CertFile, "key_file": q.KeyFile} {
			if set != "" {
				v.bad("quorum.%s: it is for an existing etcd cluster: name it in quorum.endpoints", key)
			}
		}
	}
	if (q.CertFile == "") != (q.KeyFile == "") {
		v.bad("quorum.cert_file and quorum.key_file: give both or none")
	}
	if q.Prefix != "" && !strings.HasSuffix(q.Prefix, "/") {
		v.bad("quorum.prefix: %q: want a slash at its end", q.Prefix)
	}
	if q.Quota < 0 || q.Quota > 0 && q.Quota < 64<<20 {
		v.bad("quorum.quota: %d bytes: want at least %d (64 MiB)", q.Quota, 64<<20)
	}
}
