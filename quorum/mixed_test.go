package quorum

import (
	"crypto/tls"
	"net/http"
	"strings"
	"testing"

	"github.com/skerryhq/skerry"
)

// Members are moved to TLS one after another: each pair reaches each other at each stage, and nothing written is lost. A member does not go
// back.
func TestMembersMoveToTLS(t *testing.T) {
	t.Parallel()
	files, own := peerFiles(t)
	configs := peersFor(t, 3)
	stores := openAll(t, configs...)
	written := 0
	again := func(i int) {
		t.Helper()
		kill(stores[i])
		if stores[i] = openOne(t, configs[i]); stores[i] == nil {
			t.FailNow()
		}
		for _, s := range stores {
			written += 10
			fillKeys(t, s, "k/", written)
			hasKeys(t, stores[i], "k/", written)
		}
	}
	answers := func(i int, scheme string, certificates ...tls.Certificate) bool {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{Certificates: certificates, InsecureSkipVerify: true}}}
		r, err := client.Get(scheme + "://" + configs[i].Peers.Listen + "/version")
		if err != nil {
			return false
		}
		r.Body.Close()
		return r.StatusCode == http.StatusOK
	}
	for i := range configs { // each takes both, and is reached as before
		p := configs[i].Peers
		p.TLS, p.Mixed = files, true
		again(i)
		if !answers(i, "http") || !answers(i, "https", own) || answers(i, "https") {
			t.Errorf("%s takes plain connections: %v, those with a certificate: %v, without: %v", p.Name, answers(i, "http"), answers(i, "https", own), answers(i, "https"))
		}
	}
	for i := range configs {
		p := configs[i].Peers
		p.Advertise = strings.Replace(p.Advertise, "http:", "https:", 1)
		if err := membersOf(t, stores[i]).SetPeerURL(t.Context(), p.Advertise); err != nil {
			t.Fatal(err)
		}
		p.Members[p.Name] = p.Advertise
	}
	for i := range configs {
		configs[i].Peers.Mixed = false
		again(i)
		if answers(i, "http") || !answers(i, "https", own) {
			t.Errorf("member %d takes plain connections: %v, and others: %v", i, answers(i, "http"), answers(i, "https", own))
		}
	}

	kill(stores[0])
	p := configs[0].Peers
	p.TLS, p.Advertise = nil, strings.Replace(p.Advertise, "https:", "http:", 1)
	p.Members[p.Name] = p.Advertise
	if _, err := Open(t.Context(), configs[0]); skerry.KindOf(err) != skerry.Conflict || !strings.Contains(err.Error(), "does not go back") {
		t.Errorf("a plain start: %v", err)
	}
}
