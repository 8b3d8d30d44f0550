package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/skerryhq/skerry/pki"
	"github.com/skerryhq/skerry/pki/disk"
	"github.com/skerryhq/skerry/test/program"
)

// An authority that was not changed in time ends. The log says so before, and what mends it after. Connections that are open stay; an agent
// answers from memory when they are gone. With another authority all is as before.
func TestTheAuthorityEnds(t *testing.T) {
	t.Parallel()
	const left = 45 * time.Second // in which all of it starts
	program.Skerry(t)
	data := filepath.Join(t.TempDir(), "data")
	short, err := pki.NewAuthority(time.Now().Add(left - pki.AuthorityFor))
	if err == nil {
		err = disk.Folder(filepath.Join(data, "pki")).SaveAuthority(short)
	}
	if err != nil {
		t.Fatal(err)
	}
	port := program.Port(t)
	s := &secured{at: []string{local(port)}}
	config := server(1, 1, port, nil)
	config["data_dir"], config["join_token_file"] = data, firstToken(t, data, 1)
	one := start(t, config)
	s.all = []*agent{one}
	one.leads()
	one.logs("the authority of the cluster's certificates ends soon")
	token, _ := s.token(t, 0, `{"Kind": "agent"}`)
	web := s.agent(t, "web1", token)
	web.attached()
	one.register(`{"ID": "kv-1", "Name": "kv", "Port": 80}`)
	web.register(`{"ID": "web-1", "Name": "web", "Port": 81}`)
	web.finds("kv", "kv-1")
	one.finds("web", "web-1")

	awaitFor(t, left+patience, "the end of the authority", func() error {
		text, err := os.ReadFile(one.log.Name())
		if err == nil && !strings.Contains(string(text), "the authority of the cluster has ended") {
			err = errors.New("the log does not tell of it")
		}
		return err
	})
	if time.Now().Before(short.Certificate().NotAfter) {
		t.Error("the authority ended before its time")
	}
	web.register(`{"ID": "web-2", "Name": "web", "Port": 82}`) // over the stream of before
	one.finds("web", "web-1", "web-2")

	web.follows("kv", 1)
	one.kill()
	web.finds("kv", "kv-1")
	if err := one.tryRun(); err == nil {
		t.Fatal("a server starts without a certificate")
	}
	one.logs("make another one with `skerry token create -server -data-dir`")

	for _, a := range []*agent{one, web} {
		a.kill()
		if err := os.RemoveAll(filepath.Join(a.configured().DataDir, "pki")); err != nil {
			t.Fatal(err)
		}
	}
	one.configure(map[string]any{"join_token_file": firstToken(t, data, 1)})
	one.run()
	one.leads()
	token, _ = s.token(t, 0, `{"Kind": "agent"}`)
	web.configure(map[string]any{"join_token_file": token})
	web.run()
	web.attached()
	one.finds("web", "web-1", "web-2")
	web.finds("kv", "kv-1")
}
