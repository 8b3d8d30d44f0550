package acl

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/skerryhq/skerry/node"
)

const hiddenDoc = "../../doc/hidden.md"

// full is everything that an answer says, but for the date.
func (c *client) full(one ask, token string) (text string, index string) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), one.method, c.base+one.path, strings.NewReader(one.body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("X-Consul-Token", token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	resp.Header.Del("Date")
	index = resp.Header.Get("X-Consul-Index")
	var b bytes.Buffer
	fmt.Fprintln(&b, resp.StatusCode)
	resp.Header.Write(&b)
	b.ReadFrom(resp.Body)
	return b.String(), index
}

// do asks with the root token.
func (c *client) do(asks []ask, id string) {
	c.t.Helper()
	for _, one := range asks {
		one = one.with("$id", id)
		c.make(one.method, one.path, one.body, "")
	}
}

func (a ask) with(what, is string) ask {
	a.path, a.body = strings.ReplaceAll(a.path, what, is), strings.ReplaceAll(a.body, what, is)
	return a
}

// appear makes a ghost and returns its ID.
func (c *client) appear(g ghost) string {
	c.t.Helper()
	id := ""
	for i, one := range g.make {
		field := ""
		if i == 0 {
			field = g.id
		}
		if got := c.make(one.method, one.path, one.body, field); got != "" {
			id = got
		}
	}
	return id
}

// scenery makes what the asker sees, and returns the asker's token.
func (c *client) scenery() string {
	for _, one := range []ask{
		by(put, "/v1/agent/service/register", `{"Name":"web","Port":1,"Check":{"CheckID":"beat","TTL":"1h"}}`),
		by(put, "/v1/catalog/register", `{"Node":"far","Address":"10.0.0.1","Service":{"Service":"web","Port":80},"Check":{"CheckID":"c","Name":"c","Status":"passing","ServiceID":"web"}}`),
		by(put, "/v1/catalog/register", `{"Node":"haunted","Address":"10.0.0.8"}`),
		by(put, "/v1/coordinate/update", coordinate),
		by(put, "/v1/kv/app/a", "1"),
		by(put, "/v1/session/create", `{"Node":"far","NodeChecks":[]}`),
		by(post, "/v1/query", `{"Name":"find","Service":{"Service":"web","Tags":["none"]}}`),
		by(post, "/v1/query", `{"Name":"find-ghost","Service":{"Service":"ghost"}}`),
		by(put, "/v1/event/fire/deploy", "x"),
	} {
		c.make(one.method, one.path, one.body, "")
	}
	return c.token("asker", askerRules)
}

func hiding(cfg *node.Config) { cfg.ACL.Hide = true }

// What may not be seen is answered for with the same bytes as what is not there.
func TestHiddenLooksLikeAbsent(t *testing.T) {
	c := start(t, hiding)
	token := c.scenery()
	for _, row := range hiddenRows {
		t.Run(row.thing.name+" "+row.ask.method+" "+row.ask.path+" "+row.ask.body, func(t *testing.T) {
			c.t = t
			one, g := row.ask, row.thing
			without := ""
			if g.id == "" || !strings.Contains(one.path+one.body, "$id") {
				c.full(one, token) // ?cached tells a first answer from others
				without, _ = c.full(one, token)
			}
			id := c.appear(g)
			one = one.with("$id", id)
			with, _ := c.full(one, token)
			if without != "" && with != without {
				t.Errorf("without:\n%s\nwith:\n%s", without, with)
			}
			c.do(g.change, id)
			if again, _ := c.full(one, token); again != with {
				t.Errorf("with:\n%s\nchanged:\n%s", with, again)
			}
			if g.remains != "" {
				if a := c.ask(get, strings.ReplaceAll(g.remains, "$id", id), "", root); a.status == http.StatusNotFound || len(a.body) < 10 {
					t.Errorf("it is gone: %d %s", a.status, a.body)
				}
			}
			c.do(g.undo, id)
			if after, _ := c.full(one, token); after != with {
				t.Errorf("with:\n%s\ngone again:\n%s", with, after)
			}
		})
	}
}

// Waiters are woken by what they see, and by nothing else.
func TestHiddenWakesNobody(t *testing.T) {
	for name, parkAfter := range map[string]time.Duration{"parked": time.Microsecond, "not parked": time.Hour} {
		t.Run(name, func(t *testing.T) {
			c := start(t, func(cfg *node.Config) {
				hiding(cfg)
				cfg.Consul.ParkAfter = parkAfter
			})
			token := c.scenery()
			for n, row := range hiddenRows {
				if row.stir.path == "" && !row.still {
					continue
				}
				t.Run(row.thing.name+" "+row.ask.path, func(t *testing.T) {
					c.t = t
					c.wakes(row, token, n)
				})
			}
		})
	}
}

// waiting is one's blocking query: with the index that was told before.
func waiting(one ask, index, wait string) ask {
	separator := "?"
	if strings.Contains(one.path, "?") {
		separator = "&"
	}
	one.path += separator + "wait=" + wait + "&index=" + index
	return one
}

func (c *client) wakes(row hiddenRow, token string, n int) {
	g, one := row.thing, row.ask
	id := ""
	if strings.Contains(one.path, "$id") {
		id = c.appear(g)
		one = one.with("$id", id)
	}
	before, index := c.full(one, token)
	wait := "60s"
	if row.still {
		wait = "400ms"
	}
	type woken struct {
		text string
		took time.Duration
	}
	answered := make(chan woken, 1)
	started := time.Now()
	go func() {
		text, _ := c.full(waiting(one, index, wait), token)
		answered <- woken{text, time.Since(started)}
	}()
	c.awaitParked(1)
	// The manager sees each change: when its own wait has ended, so would the other's.
	_, all := c.full(one, root)
	stirred := func() {
		_, all = c.full(waiting(one, all, "300ms"), root)
	}
	if id == "" {
		id = c.appear(g)
		stirred()
	}
	c.do(g.change, id)
	if len(g.undo) > 0 {
		stirred()
		c.do(g.undo, id)
	}
	stirred()
	if row.still {
		if got := <-answered; got.text != before || got.took < 400*time.Millisecond {
			c.t.Errorf("answered after %v:\n%s\nbefore:\n%s", got.took, got.text, before)
		}
		return
	}
	stirredAt := time.Since(started)
	c.do([]ask{row.stir.with("$n", fmt.Sprint(1000+n))}, "")
	select {
	case got := <-answered:
		if got.took < stirredAt {
			c.t.Errorf("woken by what is hidden:\n%s", got.text)
		}
		if strings.Contains(got.text, "X-Consul-Index: "+index+"\r") {
			c.t.Errorf("the index stands still: %s", index)
		}
	case <-time.After(20 * time.Second):
		c.t.Errorf("not woken by what it sees; before:\n%s", before)
	}
}

// bare is an answer without its index.
func bare(text string) string {
	return regexp.MustCompile(`X-Consul-Index: \d+\r\n`).ReplaceAllString(text, "")
}

// A removal of what was seen wakes, also when something older is left.
func TestSeenAndRemovedWakes(t *testing.T) {
	c := start(t, hiding)
	token := c.scenery()
	c.make(put, "/v1/catalog/register", `{"Node":"n1","Address":"127.0.0.1","SkipNodeUpdate":true,"Service":{"ID":"mine","Service":"mine","Port":1}}`, "")
	c.make(put, "/v1/catalog/register", `{"Node":"far","Address":"10.0.0.1","Service":{"ID":"mine","Service":"mine","Port":2}}`, "")
	c.make(put, "/v1/kv/app/b", "1", "")
	for path, gone := range map[string]ask{
		"/v1/health/service/mine": by(put, "/v1/catalog/deregister", `{"Node":"n1","ServiceID":"mine"}`),
		"/v1/kv/app/?recurse":     by(remove, "/v1/kv/app/a", ""),
	} {
		before, index := c.full(by(get, path, ""), token)
		answered := make(chan string, 1)
		go func() {
			text, _ := c.full(waiting(by(get, path, ""), index, "60s"), token)
			answered <- text
		}()
		c.awaitParked(1)
		c.make(gone.method, gone.path, gone.body, "")
		select {
		case got := <-answered:
			if bare(got) == bare(before) {
				t.Errorf("%s: woken for nothing", path)
			}
		case <-time.After(patience):
			t.Errorf("%s: not woken by a removal", path)
		}
	}
}

// doc/hidden.md has the rows, and says nothing else.
func TestHiddenDocument(t *testing.T) {
	var b bytes.Buffer
	b.WriteString(hiddenHeading)
	for _, row := range hiddenRows {
		path := row.ask.path
		if strings.HasSuffix(path, "/v1/txn") {
			path += " " + strings.ReplaceAll(row.ask.body, "|", `\|`)
		}
		fmt.Fprintf(&b, "| `%s %s` | %s | %s |\n", row.ask.method, path, row.thing.name, row.says)
	}
	b.WriteString(hiddenEnd)
	if *update {
		if err := os.WriteFile(hiddenDoc, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(hiddenDoc)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != b.String() {
		t.Errorf("doc/hidden.md is not what is tested: run this test with -update\n%s", difference(string(have), b.String()))
	}
}

// Without the preset, answers tell of what is hidden as Consul's do.
func TestHiddenIsToldElsewhere(t *testing.T) {
	c := start(t, func(*node.Config) {})
	token := c.scenery()
	c.appear(hiddenLocal)
	if a := c.ask(get, "/v1/agent/service/ghost", "", token); a.status != http.StatusForbidden {
		t.Errorf("agent/service: %d %s", a.status, a.body)
	}
	c.appear(hiddenKey)
	var v struct{ Results []json.RawMessage }
	a := c.ask(put, "/v1/txn", `[{"KV":{"Verb":"get","Key":"app/hidden"}}]`, token)
	if json.Unmarshal(a.body, &v); a.status != http.StatusOK || len(v.Results) != 0 {
		t.Errorf("txn: %d %s", a.status, a.body)
	}
}

const hiddenHeading = `# Names hidden under the preset ` + "`strict`" + `

With ` + "`acl { enabled = true  preset = \"strict\" }`" + `, names that a caller may not see are answered for as missing ones: the same status,
headers and body, and no wake-up. Elsewhere (other presets, ` + "`default_policy = \"deny\"`" + ` alone, ` + "`dry_run`" + `) the answers are Consul's, which tell
more: [acl.md](acl.md). An index (` + "`X-Consul-Index`" + `) is the newest change among what the caller sees or saw; one that does not fit it is
answered at once. ` + "`X-Consul-Results-Filtered-By-ACLs`" + ` is never sent.

Each row is tested with the hidden thing and without it, and where something can be waited for, also while it comes, changes and goes
(` + "`go test ./test/acl -run Hidden`" + `).

| request | hidden | answer |
|---|---|---|
`

const hiddenEnd = `
DNS answers with ` + "`tokens.dns`" + `: names and addresses that this token may not see are answered as unknown ones are (NXDOMAIN, or the recursors),
prepared queries among them. ` + "`HEX.addr`" + ` is the address that it spells, for every address.

## Remaining traces

- **Numbers.** ` + "`ModifyIndex`" + ` and the other indexes of visible records are places in one order of all changes: gaps between two of them show that
  something changed, but not which record.
- **Identifiers that are taken.** Registering a service or check with the ID of a hidden one is refused: 403, without its name. So
  is ` + "`PUT /v1/skerry/set`" + ` when a hidden service would be dropped by it. Prepared queries that differ in case alone clash likewise.
- **Permissions that need sight.** A caller that may write sessions of a node learns from ` + "`session/create`" + ` whether it and the named checks exist;
  ` + "`operator:read`" + ` shows the names left out in ` + "`skerry/explain`" + `; ` + "`agent:read`" + ` shows logs and counts.
- **Time.** Answers are not made to take the same time.
- **Providers.** A login at a method whose provider is away is answered with 500, one at an unknown method with 403.
- **Many removals.** When the store forgets old removals (after 65,536), a prefix's index may rise once although nothing seen has changed.
`

// An identifier that something hidden has is taken: that cannot be helped, but the
// refusal does not say by what.
func TestTakenIdentifiersNameNothing(t *testing.T) {
	c := start(t, hiding)
	token := c.scenery()
	c.make(put, "/v1/catalog/register", `{"Node":"far","Address":"10.0.0.1","Service":{"ID":"x1","Service":"ghost"},"Check":{"CheckID":"y1","Name":"y","Status":"passing","ServiceID":"x1"}}`, "")
	c.make(put, "/v1/agent/service/register", `{"ID":"x1","Name":"ghost","Check":{"CheckID":"y1","TTL":"1h"}}`, "")
	for _, one := range []ask{
		by(put, "/v1/catalog/register", `{"Node":"far","Address":"10.0.0.1","Service":{"ID":"x1","Service":"mine"}}`),
		by(put, "/v1/catalog/register", `{"Node":"far","Address":"10.0.0.1","Service":{"ID":"mine","Service":"mine"},"Check":{"CheckID":"y1","Name":"y","Status":"passing","ServiceID":"mine"}}`),
		by(put, "/v1/txn", `[{"Service":{"Verb":"set","Node":"far","Service":{"ID":"x1","Service":"mine"}}}]`),
		by(put, "/v1/txn", `[{"Service":{"Verb":"delete","Node":"far","Service":{"ID":"x1"}}}]`),
		by(put, "/v1/txn", `[{"Check":{"Verb":"delete","Check":{"Node":"far","CheckID":"y1"}}}]`),
		by(put, "/v1/agent/service/register", `{"ID":"x1","Name":"mine"}`),
		by(put, "/v1/agent/service/register", `{"Name":"mine","Check":{"CheckID":"y1","TTL":"1h"}}`),
		by(put, "/v1/skerry/set", `{"Services":[{"Name":"mine"}]}`),
	} {
		a := c.ask(one.method, one.path, one.body, token)
		if a.status != http.StatusForbidden && a.status != http.StatusConflict || strings.Contains(string(a.body), "ghost") {
			t.Errorf("%s %s: %d %s", one.path, one.body, a.status, a.body)
		}
	}
}
