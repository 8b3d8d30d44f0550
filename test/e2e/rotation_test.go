package e2e

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skerryhq/skerry/pki"
	"github.com/skerryhq/skerry/pki/disk"
	"github.com/skerryhq/skerry/test/program"
)

// The authority is changed under load: no call fails, no agent attaches anew, and the old one is trusted nowhere afterwards. A
// server that was away meanwhile follows.
func TestTheAuthorityIsRotated(t *testing.T) {
	t.Parallel()
	s := startSecured(t, 3, nil)
	early, _ := s.token(t, 0, `{"Kind": "agent", "Uses": 9}`)
	web := s.agent(t, "web1", early)
	web.attached()
	web.register(`{"ID": "web-1", "Name": "web", "Port": 81}`)
	for _, a := range s.all {
		a.finds("web", "web-1")
	}
	old, err := disk.Folder(filepath.Join(s.all[0].configured().DataDir, "pki")).Authority()
	if err != nil {
		t.Fatal(err)
	}
	forged := forge(t, old, "s9")
	if err := s.knocks(t, 0, forged); err != nil {
		t.Fatalf("a certificate of the authority is refused before the rotation: %v", err)
	}

	_, home := web.homes()
	s.all[2].kill() // it is away when the rotation begins
	if home == 2 {
		await(t, "the agent attaches to another server", func() error {
			if _, now := web.homes(); now == home {
				return errors.New("it does not")
			}
			return nil
		})
	}
	web.attached()
	times, _ := web.homes()
	stop := s.underLoad(t, web)
	rotate := exec.Command(program.Skerry(t), "ca", "rotate", "-http-addr", s.all[0].http)
	var said bytes.Buffer
	rotate.Stdout, rotate.Stderr = &said, &said
	if err := rotate.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, "the beginning of the rotation", func() error {
		if a := s.authority(t, 1); a.Before != old.Pin().String() {
			return fmt.Errorf("the authority is %+v", a)
		}
		return nil
	})
	s.all[2].run()
	if err := rotate.Wait(); err != nil {
		t.Fatalf("ca rotate: %v\n%s", err, said.String())
	}
	for _, a := range s.all {
		await(t, "each server has the new authority alone", func() error { return trustsAlone(a, old.Pin()) })
	}
	await(t, "the agent trusts the new authority alone", func() error { return trustsAlone(web, old.Pin()) })
	stop()
	if again, _ := web.homes(); again != times {
		t.Errorf("the agent attached %d times, and %d before", again, times)
	}
	for n, a := range s.all {
		if left, err := filepath.Glob(filepath.Join(a.configured().DataDir, "pki", "*next*")); err != nil || len(left) > 0 {
			t.Errorf("s%d has a second copy of the authority: %v %v", n+1, left, err)
		}
		if err := s.knocks(t, n, forged); err == nil {
			t.Errorf("s%d accepts a certificate of the old authority", n+1)
		}
	}

	// A token of the old authority lets no process in. A new one does.
	s.agent(t, "web2", early).logs("not of the authority that the join token names")
	late, _ := s.token(t, 1, `{"Kind": "agent"}`)
	s.agent(t, "web3", late).attached()

	// The next rotation waits until the members of the quorum store have forgotten the first authority.
	if a := s.authority(t, 0); len(a.Restart) != 3 || a.Before != "" {
		t.Errorf("after the rotation: %+v", a)
	}
	if r := s.all[0].request("PUT", "/v1/skerry/authority/rotate", ""); r.status != 409 || !strings.Contains(r.body, "restart these servers first") {
		t.Errorf("a second rotation: %d %s", r.status, r.body)
	}
	for n, a := range s.all {
		a.kill()
		a.run()
		a.leads()
		a.ready(200, "true")
		await(t, "the member trusts the new authority", func() error {
			if left := s.authority(t, 0).Restart; slices.Contains(left, fmt.Sprint("s", n+1)) {
				return fmt.Errorf("left are %v", left)
			}
			return nil
		})
	}
	out, err := exec.Command(program.Skerry(t), "ca", "rotate", "-http-addr", s.all[1].http, "-wait", "1m").CombinedOutput()
	if err != nil {
		t.Fatalf("the second rotation: %v\n%s", err, out)
	}
	for _, a := range s.all {
		a.finds("web", "web-1")
	}
}

// authorityState is the answer of /v1/skerry/authority.
type authorityState struct {
	Pin, Before      string
	Waiting, Restart []string
	Moving           bool
	Plain            []string
}

func (s *secured) authority(t *testing.T, at int) (a authorityState) {
	t.Helper()
	if err := json.Unmarshal([]byte(s.all[at].ok("GET", "/v1/skerry/authority", "").body), &a); err != nil {
		t.Fatal(err)
	}
	return a
}

// trustsAlone returns why the process of an agent still trusts an authority, or has its certificate of it.
func trustsAlone(a *agent, old pki.Pin) error {
	h, err := disk.Folder(filepath.Join(a.configured().DataDir, "pki")).Load()
	if err != nil {
		return err
	}
	if slices.Contains(pki.Pins(h.Roots), old) || len(h.Roots) != 1 || h.Leaf().CheckSignatureFrom(h.Roots[0]) != nil {
		return fmt.Errorf("it trusts %v", pki.Pins(h.Roots))
	}
	return nil
}

// forge returns credentials of a server that a stolen authority has signed.
func forge(t *testing.T, a *pki.Authority, node string) *pki.Credentials {
	t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	request, err := pki.Request(key)
	if err != nil {
		t.Fatal(err)
	}
	h, err := a.Sign(request, pki.Name{Datacenter: "dc1", Kind: pki.Server, Node: node}, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	h.Key = key
	c, err := pki.NewCredentials(h, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// knocks shows a certificate at the ports of a server, and returns why one of them refuses it.
func (s *secured) knocks(t *testing.T, at int, with *pki.Credentials) error {
	t.Helper()
	own := with.Held()
	conf := &tls.Config{InsecureSkipVerify: true, ServerName: pki.ServerName("dc1"), NextProtos: []string{"h2"}, Certificates: []tls.Certificate{{PrivateKey: own.Key, Certificate: pki.Raw(own.Chain)}}}
	conn, err := (&tls.Dialer{Config: conf}).DialContext(t.Context(), "tcp", s.at[at])
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return err
	}
	var one [1]byte
	if _, err := conn.Read(one[:]); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) { // the server speaks first, of its settings
		return err
	}
	return nil
}

// underLoad makes look-ups and writes at the agent and at two servers until stop is called, and fails the test for each that fails.
func (s *secured) underLoad(t *testing.T, web *agent) (stop func()) {
	t.Helper()
	ended := make(chan struct{})
	var all sync.WaitGroup
	made := 0
	all.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-ended:
				made = n
				return
			default:
			}
			at := []*agent{web, s.all[0], s.all[1]}[n%3]
			if got := at.instances("web"); len(got) != 1 {
				t.Errorf("%s shows %v", at.http, got)
			}
			if r := at.request("PUT", fmt.Sprint("/v1/kv/a/", n%10), "b"); r.status != 200 {
				t.Errorf("a key at %s: %d %s", at.http, r.status, r.body)
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
	return func() {
		close(ended)
		all.Wait()
		t.Logf("%d look-ups and writes", made)
	}
}
