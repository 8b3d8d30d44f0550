package rules

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/skerryhq/skerry"
)

func TestParse(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"nothing", ``, ``},
		{"empty object", `{}`, ``},
		{"a service", `service "web" { policy = "write" }`, `service "web" { policy = "write" }`},
		{"a prefix", `key_prefix "app/" { policy = "list" }`, `key_prefix "app/" { policy = "list" }`},
		{"the empty prefix", `node_prefix "" { policy = "read" }`, `node_prefix "" { policy = "read" }`},
		{"intentions", `service "web" { policy = "read" intentions = "deny" }`, `service "web" { policy = "read" }`},
		{"single ones", `acl = "read" operator = "write" keyring="deny" mesh="read" peering="read"`,
			`acl = "read"; operator = "write"; keyring = "deny"; mesh = "read"; peering = "read"`},
		{"several", `event "a" { policy = "write" } query "b" { policy = "read" } session_prefix "c" { policy = "deny" } agent "d" { policy = "read" }`,
			`event "a" { policy = "write" }; query "b" { policy = "read" }; session_prefix "c" { policy = "deny" }; agent "d" { policy = "read" }`},
		{"nested HCL", `key { "a" { policy = "read" } "b" { policy = "write" } }`, `key "a" { policy = "read" }; key "b" { policy = "write" }`},
		{"JSON", `{"key_prefix":{"a/":{"policy":"list"},"b/":{"policy":"read"}},"acl":"write"}`,
			`key_prefix "a/" { policy = "list" }; key_prefix "b/" { policy = "read" }; acl = "write"`},
		{"JSON lists", `{"service":[{"a":[{"policy":"read"}]},{"b":{"policy":"deny"}}]}`, `service "a" { policy = "read" }; service "b" { policy = "deny" }`},
		{"a name with a brace", `key "}{" { policy = "read" }`, `key "}{" { policy = "read" }`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rs, err := Parse(tc.text)
			var got []string
			for _, r := range rs {
				got = append(got, r.String())
			}
			if err != nil || strings.Join(got, "; ") != tc.want {
				t.Errorf("%v, %v\nwant %s", strings.Join(got, "; "), err, tc.want)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{`service "x" { policy = "fly" }`, `Invalid service policy: &acl.ServiceRule{Name:"x", Policy:"fly", Intentions:"", EnterpriseRule:acl.EnterpriseRule{}}`},
		{`nonsense {`, `Failed to parse ACL rules: At 1:12: object expected closing RBRACE got: EOF`},
		{`key "a" { policy = "fly" }`, `Invalid key policy: "fly" of "a" is not among deny, read, list and write`},
		{`node "a" { policy = "list" }`, `Invalid node policy: "list" of "a" is not among deny, read and write`},
		{`node "a" { }`, `Invalid node policy: "" of "a" is not among deny, read and write`},
		{`acl = "list"`, `Invalid acl policy: "list" is not among deny, read and write`},
		{`acl "x" { policy = "read" }`, `an acl rule is written acl = "read"`},
		{`servce "x" { policy = "read" }`, `there are no "servce" rules`},
		{`acl_prefix "x" { policy = "read" }`, `there are no "acl_prefix" rules`},
		{`namespace "x" { policy = "read" }`, `Consul Enterprise`},
		{`key "x" { policy = "read" sentinel { code = "" } }`, `Consul Enterprise`},
		{`key "x" { polcy = "read" }`, `a key rule has no "polcy"`},
		{`key "x" "y" { policy = "read" }`, `a key rule has one name`},
		{`key = "read"`, `a key rule is written key "name"`},
		{`service "x" { policy = "read" intentions = "fly" }`, `Invalid service intentions policy`},
		{strings.Repeat("[", 100), `nested more than 32 deep`},
		{strings.Repeat(" ", maxText+1), `are too many`},
	} {
		_, err := Parse(tc.text)
		if err == nil || !strings.Contains(err.Error(), tc.want) || skerry.KindOf(err) != skerry.Invalid {
			t.Errorf("%.60s: %v\nwant %s", tc.text, err, tc.want)
		}
	}
}

func policies(t *testing.T, texts ...string) (out []Policy) {
	t.Helper()
	for i, text := range texts {
		rs, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, Policy{Name: "p" + string(rune('0'+i)), Rules: rs})
	}
	return out
}

func TestAllows(t *testing.T) {
	const (
		none  = skerry.AccessNone
		read  = skerry.AccessRead
		list  = skerry.AccessList
		write = skerry.AccessWrite
	)
	for _, tc := range []struct {
		name     string
		policies []string
		resource skerry.Resource
		of       string
		want     skerry.Access // the most that is allowed
		rule     string
	}{
		{"exact beats prefix", []string{`key "a/b" { policy = "read" } key_prefix "a/" { policy = "write" }`}, "key", "a/b", read, `policy "p0": key "a/b" { policy = "read" }`},
		{"exact beats prefix of another policy", []string{`key "a/b" { policy = "write" }`, `key_prefix "a/" { policy = "deny" }`}, "key", "a/b", write, ""},
		{"the longest prefix wins", []string{`key_prefix "" { policy = "write" } key_prefix "a/" { policy = "list" } key_prefix "a/b/" { policy = "deny" }`}, "key", "a/b/c", none, `key_prefix "a/b/"`},
		{"a sibling of the longest", []string{`key_prefix "a" { policy = "read" } key_prefix "ab" { policy = "write" } key_prefix "aba" { policy = "deny" }`}, "key", "abb", write, `key_prefix "ab"`},
		{"a prefix that is the name", []string{`key_prefix "a" { policy = "read" }`}, "key", "a", read, ""},
		{"deny beats write", []string{`service "a" { policy = "write" }`, `service "a" { policy = "deny" }`}, "service", "a", none, `policy "p1"`},
		{"write beats list", []string{`key "a" { policy = "list" }`, `key "a" { policy = "write" }`}, "key", "a", write, `policy "p1"`},
		{"list beats read", []string{`key "a" { policy = "read" }`, `key "a" { policy = "list" }`}, "key", "a", list, ""},
		{"the default", []string{`key "a" { policy = "read" }`}, "key", "b", none, "no rule names it: the default is deny"},
		{"mesh follows operator", []string{`operator = "read"`}, "mesh", "", read, `policy "p0": operator = "read"`},
		{"mesh for itself", []string{`operator = "write" mesh = "deny"`}, "mesh", "", none, ""},
		{"peering follows operator", []string{`operator = "write"`}, "peering", "", write, ""},
		{"keyring does not", []string{`operator = "write"`}, "keyring", "", none, ""},
		{"no such resource", []string{`operator = "write"`}, "nothing", "", none, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := New(policies(t, tc.policies...), Strict)
			for _, want := range []skerry.Access{read, list, write} {
				if got := a.Allows(tc.resource, tc.of, want); got != (want <= tc.want) {
					t.Errorf("%v: %v", want, got)
				}
			}
			if rule := a.Rule(tc.resource, tc.of); !strings.Contains(rule, tc.rule) {
				t.Errorf("%s\nwant %s", rule, tc.rule)
			}
		})
	}
}

func TestAllowsBelow(t *testing.T) {
	a := New(policies(t, `key_prefix "" { policy = "read" } key_prefix "a/" { policy = "write" } key "a/x" { policy = "write" } key "b/x" { policy = "deny" }
		key_prefix "c/" { policy = "write" } key_prefix "c/d/" { policy = "read" }`), Strict)
	for _, tc := range []struct {
		prefix string
		want   skerry.Access
	}{{"a/", skerry.AccessWrite}, {"a", skerry.AccessRead}, {"b/", skerry.AccessNone}, {"c/", skerry.AccessRead}, {"c/e", skerry.AccessWrite}, {"", skerry.AccessNone}} {
		for _, want := range []skerry.Access{skerry.AccessRead, skerry.AccessWrite} {
			if got := a.AllowsBelow(skerry.ResourceKey, tc.prefix, want); got != (want <= tc.want) {
				t.Errorf("%q %v: %v", tc.prefix, want, got)
			}
		}
	}
	if New(nil, Strict).AllowsBelow(skerry.ResourceKey, "", skerry.AccessRead) || !New(nil, Open).AllowsBelow(skerry.ResourceKey, "", skerry.AccessWrite) {
		t.Error("the default does not hold below a prefix")
	}
}

func TestPresets(t *testing.T) {
	for _, tc := range []struct {
		name              string
		of                Defaults
		service, key, acl skerry.Access
	}{
		{"strict", Strict, skerry.AccessNone, skerry.AccessNone, skerry.AccessNone},
		{"read-open", ReadOpen, skerry.AccessRead, skerry.AccessNone, skerry.AccessNone},
		{"open", Open, skerry.AccessWrite, skerry.AccessWrite, skerry.AccessNone},
	} {
		a := New(nil, tc.of)
		for r, most := range map[skerry.Resource]skerry.Access{"service": tc.service, "key": tc.key, "acl": tc.acl} {
			for _, want := range []skerry.Access{skerry.AccessRead, skerry.AccessWrite} {
				if a.Allows(r, "x", want) != (want <= most) {
					t.Errorf("%s: %s:%s", tc.name, r, want)
				}
			}
		}
	}
}

func TestGranted(t *testing.T) {
	g := skerry.Grants{
		Services:  []skerry.ServiceIdentity{{Service: "web"}, {Service: "far", Datacenters: []string{"dc2"}}},
		Nodes:     []skerry.NodeIdentity{{Node: "n1", Datacenter: "dc1"}, {Node: "n2", Datacenter: "dc2"}},
		Templates: []skerry.TemplatedPolicy{{Template: "builtin/dns"}, {Template: "builtin/none"}, {Template: "builtin/service", Name: `x" { policy = "write" } acl = "write`}},
	}
	a := New(Granted(g, "dc1"), Strict)
	for _, tc := range []struct {
		resource skerry.Resource
		name     string
		want     skerry.Access
	}{
		{"service", "web", skerry.AccessWrite}, {"service", "web-sidecar-proxy", skerry.AccessWrite}, {"service", "far", skerry.AccessRead},
		{"node", "n1", skerry.AccessWrite}, {"node", "n2", skerry.AccessRead}, {"query", "q", skerry.AccessRead}, {"acl", "", skerry.AccessNone}, {"key", "k", skerry.AccessNone},
	} {
		for _, want := range []skerry.Access{skerry.AccessRead, skerry.AccessWrite} {
			if a.Allows(tc.resource, tc.name, want) != (want <= tc.want) {
				t.Errorf("%s %s %s", tc.resource, tc.name, want)
			}
		}
	}
}

func TestBuiltinPolicies(t *testing.T) {
	for _, p := range Builtin() {
		rs, err := Parse(p.Rules)
		if err != nil || !slices.Equal(rs, builtin[p.ID]) {
			t.Errorf("%s: %v, %v", p.Name, rs, err)
		}
		a := New([]Policy{{Name: p.Name, Rules: rs}}, Strict)
		for _, r := range resources {
			if !a.Allows(r, "x", skerry.AccessRead) && !nameless[r] || nameless[r] && !a.Allows(r, "", skerry.AccessRead) {
				t.Errorf("%s does not allow to read %s", p.Name, r)
			}
			if got := a.Allows(r, "", skerry.AccessWrite); got != (p.ID == skerry.GlobalManagement) {
				t.Errorf("%s: write to %s: %v", p.Name, r, got)
			}
		}
	}
}

// What is decided with sorted tables is what the words of the documentation say,
// taken literally.
func TestAgainstTheWords(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	word := func() string {
		b := make([]byte, rng.IntN(5))
		for i := range b {
			b[i] = "ab/"[rng.IntN(3)]
		}
		return string(b)
	}
	for range 3000 {
		var ps []Policy
		for range 1 + rng.IntN(3) {
			p := Policy{Name: "p"}
			for range rng.IntN(6) {
				p.Rules = append(p.Rules, Rule{skerry.ResourceKey, word(), rng.IntN(2) == 0, skerry.Access(rng.IntN(4))})
			}
			ps = append(ps, p)
		}
		a := New(ps, Strict)
		for range 8 {
			name := word()
			want := literally(ps, name)
			for _, access := range []skerry.Access{skerry.AccessRead, skerry.AccessList, skerry.AccessWrite} {
				if got := a.Allows(skerry.ResourceKey, name, access); got != (access <= want) {
					t.Fatalf("%v: %q %v is %v, the words say %v", ps, name, access, got, want)
				}
			}
			if a.AllowsBelow(skerry.ResourceKey, name, skerry.AccessWrite) {
				for range 20 {
					if below := name + word(); literally(ps, below) < skerry.AccessWrite {
						t.Fatalf("%v: all below %q is allowed, %q is not", ps, name, below)
					}
				}
			}
		}
	}
}

func literally(ps []Policy, name string) skerry.Access {
	var best *Rule
	for _, p := range ps {
		for _, r := range p.Rules {
			if r.Prefix && !strings.HasPrefix(name, r.Name) || !r.Prefix && r.Name != name {
				continue
			}
			switch {
			case best == nil, !r.Prefix && best.Prefix, r.Prefix == best.Prefix && len(r.Name) > len(best.Name):
				best = &r
			case r.Prefix == best.Prefix && r.Name == best.Name && (r.Access == 0 || best.Access != 0 && r.Access > best.Access):
				best = &r
			}
		}
	}
	if best == nil {
		return skerry.AccessNone
	}
	return best.Access
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`service "web" { policy = "write" }`, `{"key_prefix":{"a/":{"policy":"list"}}}`, `acl = "read"`, "key <<E\nx\nE\n{}", `key "${a}" {policy="read"}`, `{"key":[[{"a":[]}]]}`, `"" = ""`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		rs, err := Parse(text)
		if err != nil {
			if skerry.KindOf(err) != skerry.Invalid {
				t.Errorf("%v is not of kind invalid", err)
			}
			return
		}
		a := New([]Policy{{Name: "p", Rules: rs}}, Strict)
		for _, r := range rs {
			a.AllowsBelow(r.Resource, r.Name, skerry.AccessWrite)
			if !r.Prefix && r.Access == skerry.AccessNone && a.Allows(r.Resource, r.Name, skerry.AccessRead) {
				t.Errorf("%v denies, and it is allowed", r)
			}
			if a.Rule(r.Resource, r.Name) == "" {
				t.Errorf("no rule is told for %v", r)
			}
		}
	})
}

func BenchmarkAllows(b *testing.B) {
	var p Policy
	for i := range 1000 {
		name := "team-" + string(rune('a'+i%26)) + "/" + strings.Repeat("x", i/26)
		p.Rules = append(p.Rules, Rule{skerry.ResourceKey, name, i%2 == 0, skerry.AccessWrite})
	}
	a := New([]Policy{p}, Strict)
	b.ReportAllocs()
	for b.Loop() {
		a.Allows(skerry.ResourceKey, "team-k/xxxxxxxxxxxxy", skerry.AccessRead)
	}
}

func TestDecidingAllocatesNothing(t *testing.T) {
	a := New(policies(t, `key_prefix "a/" { policy = "write" } key "a/b" { policy = "deny" } service_prefix "" { policy = "read" }`), Strict)
	if n := testing.AllocsPerRun(100, func() {
		a.Allows(skerry.ResourceKey, "a/b", skerry.AccessRead)
		a.Allows(skerry.ResourceService, "web", skerry.AccessRead)
		a.AllowsBelow(skerry.ResourceKey, "a/", skerry.AccessWrite)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
