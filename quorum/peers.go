package quorum

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"go.etcd.io/etcd/server/v3/embed"

	"github.com/skerryhq/skerry"
)

// Peers configures a member that can be one of several. Zero values of optional fields
// mean their defaults.
type Peers struct {
	// ID is the durable id of this server. The data folder belongs to it. Required.
	ID string
	// Name is the node name. Required, unique in the cluster, without "=" and ",". It may
	// change.
	Name string
	// Listen is the host:port where other members are accepted; the host is an IP
	// address or localhost. Required.
	Listen string
	// Advertise is the URL at which the others reach this member, such as
	// "https://10.0.0.1:8301". Required; https needs TLS.
	Advertise string
	// Members are the peer URLs by name of all members, with this one: those that form
	// a new cluster, or those of the cluster to join. Default: this member alone.
	// Ignored once the folder has data.
	Members map[string]string
	// Round names the forming of the cluster. It must be the same on all its first
	// members, and another one each time a cluster is formed. Default: ID.
	Round string
	// Join means that the cluster exists and has this member in its list.
	Join bool
	// Multiplier makes elections slower for slow disks and networks: from 2 on, a
	// leader counts as lost after 1,000 ms instead of 500 ms.
	Multiplier int
	// TLS secures the connections of members. nil: they are plain, for loopback.
	TLS *PeerTLS
	// Mixed: plain connections are taken too, while members are moved to TLS. Advertise may be either then, for the
	// others that can reach it.
	Mixed bool

	unheard bool // it accepts no other member, so that it needs no TLS: for [Recover]
}

// PeerTLS names the files for connections between members, in PEM form. They are read
// at each handshake, so that a renewed certificate needs no restart. All are required.
type PeerTLS struct {
	CAFile, CertFile, KeyFile string
	// ServerName is the name that the certificates of all members have.
	ServerName string
}

const (
	// The times of a member alone, in milliseconds. It needs no other member's vote, but
	// a start takes up to an election's time.
	tickAlone, electionAlone = 20, 200
	// The times of one of several: a busy disk must not depose a leader.
	tickAmong, electionAmong, electionSlow = 100, 500, 1000
	// maxLearners is how many members may be without a vote at a time. It has to be the
	// same on all members.
	maxLearners = 16
)

// check reports the first field that cannot be right.
func (p *Peers) check() error {
	for _, f := range []struct{ name, value string }{
		{"ID", p.ID}, {"Name", p.Name}, {"Listen", p.Listen}, {"Advertise", p.Advertise},
	} {
		if f.value == "" {
			return skerry.Errorf(skerry.Invalid, "a member of several needs %s", f.name)
		}
	}
	for name := range p.Members {
		if strings.ContainsAny(name, "=,") {
			return skerry.Errorf(skerry.Invalid, "the member's name %q has a comma or an equals sign: etcd's list of members cannot have it", name)
		}
	}
	if own, ok := p.Members[p.Name]; len(p.Members) > 0 && (!ok || own != p.Advertise) {
		return skerry.Errorf(skerry.Invalid, "the list of members has %q for %s, whose own URL is %q", own, p.Name, p.Advertise)
	}
	if secure := secured(p.Advertise); secure != (p.TLS != nil) && !p.unheard && !(p.Mixed && p.TLS != nil) {
		return skerry.Errorf(skerry.Invalid, "the peer URL %s and the TLS files do not fit: https needs them, http has none", p.Advertise)
	}
	return nil
}

// secured reports whether a peer URL is one with TLS.
func secured(peerURL string) bool { return strings.HasPrefix(peerURL, "https:") }

// into adds the listener, the times and the list of members to etcd's configuration.
func (p *Peers) into(conf *embed.Config) error {
	own, err := url.Parse(p.Advertise)
	if err != nil {
		return fmt.Errorf("the peer URL: %w", err)
	}
	conf.Name = p.Name
	if !p.Mixed {
		conf.ListenPeerUrls = []url.URL{{Scheme: own.Scheme, Host: p.Listen}}
	}
	conf.AdvertisePeerUrls = []url.URL{*own}
	conf.InitialCluster = p.list()
	conf.InitialClusterToken = first(p.Round, p.ID)
	if p.Join {
		conf.ClusterState = embed.ClusterStateFlagExisting
	}
	conf.TickMs, conf.ElectionMs = tickAmong, electionAmong
	if p.Multiplier >= 2 {
		conf.ElectionMs = electionSlow
	}
	if p.TLS != nil {
		p.TLS.into(conf)
	}
	return nil
}

// list is the list of members in etcd's form.
func (p *Peers) list() string {
	if len(p.Members) == 0 {
		return p.Name + "=" + p.Advertise
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(p.Members)) {
		out = append(out, name+"="+p.Members[name])
	}
	return strings.Join(out, ",")
}

// into requires a certificate of both ends, with the members' common name. An address
// in a certificate is not compared with that of the connection.
func (t *PeerTLS) into(conf *embed.Config) {
	to := &conf.PeerTLSInfo
	to.CertFile, to.KeyFile, to.TrustedCAFile, to.ClientCertAuth = t.CertFile, t.KeyFile, t.CAFile, true
	to.ServerName, to.AllowedHostnames, to.SkipClientSANVerify = t.ServerName, []string{t.ServerName}, true
}

// JoinList returns the Members of a newcomer: the list that [Members.AddLearner] returned,
// with the newcomer's own name. A member without a name yet has its id there.
func JoinList(list []Member, own *Peers) map[string]string {
	out := map[string]string{}
	for _, m := range list {
		switch {
		case slices.Contains(m.PeerURLs, own.Advertise):
			out[own.Name] = own.Advertise
		default:
			out[first(m.Name, m.ID)] = m.PeerURLs[0]
		}
	}
	return out
}

// several reports whether there are other members.
func (p *Peers) several() bool { return p != nil && len(p.Members) > 1 }
