package access

import (
	"testing"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/access/rules"
	"github.com/skerryhq/skerry/quorum/replica/replicatest"
)

// What is damaged opens no door: a policy that denied something is not left out, and
// a token that cannot be read is an error.
func TestDamageOpensNoDoor(t *testing.T) {
	kv := replicatest.NewMemory()
	s := open(t, func(o *Options) { o.KV, o.Defaults = kv, rules.Open })
	g := NewGate(s, nil)
	policy := func(name, text string) *skerry.Policy {
		return must(s.PutPolicy(t.Context(), skerry.Policy{Name: name, Rules: text}))(t)
	}
	all, no := policy("all", `key_prefix "" { policy = "write" }`), policy("no", `key_prefix "secret/" { policy = "deny" }`)
	role := must(s.PutRole(t.Context(), skerry.Role{Name: "r", Grants: skerry.Grants{Policies: []skerry.Link{{ID: no.ID}}}}))(t)
	token := must(s.CreateToken(t.Context(), skerry.Token{Grants: skerry.Grants{Policies: []skerry.Link{{ID: all.ID}}}, Roles: []skerry.Link{{ID: role.ID}}}, 0))(t)
	if !allows(t, g, token.Secret, skerry.ResourceKey, "a", skerry.AccessWrite) || allows(t, g, token.Secret, skerry.ResourceKey, "secret/a", skerry.AccessRead) {
		t.Fatal("the rules are not as they were meant")
	}
	for _, c := range []struct {
		key  string
		mend func() error
	}{
		{policyKey(no.ID), func() error {
			_, err := s.PutPolicy(t.Context(), skerry.Policy{ID: no.ID, Name: "no", Rules: no.Rules})
			return err
		}},
		{roleKey(role.ID), func() error {
			_, err := s.PutRole(t.Context(), skerry.Role{ID: role.ID, Name: "r", Grants: skerry.Grants{Policies: []skerry.Link{{ID: no.ID}}}})
			return err
		}},
	} {
		kv.Damage(c.key)
		if allows(t, g, token.Secret, skerry.ResourceKey, "secret/a", skerry.AccessRead) {
			t.Errorf("%s was damaged, and the key that it denied is read", c.key)
		}
		if err := c.mend(); err != nil {
			t.Fatalf("%s cannot be written anew: %v", c.key, err)
		}
		if !allows(t, g, token.Secret, skerry.ResourceKey, "a", skerry.AccessWrite) || allows(t, g, token.Secret, skerry.ResourceKey, "secret/a", skerry.AccessRead) {
			t.Errorf("%s was written anew, and the rules are others", c.key)
		}
	}
	kv.Damage(policyKey(no.ID))
	wants(t, s.Sound("policy", no.ID), skerry.Internal, no.ID)
	wants(t, s.Sound("policy", ""), skerry.Internal, no.ID)
	if s.Sound("policy", all.ID) != nil || s.Sound("role", "") != nil {
		t.Error("the sound is damaged")
	}
	if err := s.DeletePolicy(t.Context(), no.ID); err != nil || s.Sound("policy", "") != nil || s.PolicyByName("no") != nil {
		t.Errorf("a damaged policy cannot be deleted: %v", err)
	}

	for _, key := range []string{tokenKey(token.Accessor), secretKey(token.Secret)} {
		kv.Damage(key)
		_, err := g.Identify(token.Secret)
		wants(t, err, skerry.Internal, key)
	}
	_, err := s.UpdateToken(t.Context(), skerry.Token{Accessor: token.Accessor})
	wants(t, err, skerry.Internal, token.Accessor)
	if err := s.DeleteToken(t.Context(), token.Accessor); err != nil {
		t.Fatal(err)
	}
	for r := range kv.Snapshot().All(skerry.Below(root), "") {
		if r.Damage != nil {
			t.Errorf("%s is left damaged", r.Key)
		}
	}
	_, err = g.Identify(token.Secret)
	wants(t, err, skerry.Denied, "ACL not found")
}

// The anonymous token may have denied something too. Init and the others go on.
func TestADamagedAnonymousToken(t *testing.T) {
	kv := replicatest.NewMemory()
	s := open(t, func(o *Options) { o.KV, o.Defaults = kv, rules.Open })
	g := NewGate(s, nil)
	if !allows(t, g, "", skerry.ResourceKey, "a", skerry.AccessRead) {
		t.Fatal("the preset is not open")
	}
	kv.Damage(tokenKey(skerry.AnonymousAccessor))
	kv.Damage(policyKey(skerry.GlobalManagement))
	if err := s.Init(t.Context()); err != nil {
		t.Fatalf("init: %v", err)
	}
	if allows(t, g, "", skerry.ResourceKey, "a", skerry.AccessRead) {
		t.Error("nobody knows what the anonymous may do, and they read")
	}
	if !allows(t, g, rootSecret, skerry.ResourceACL, "", skerry.AccessWrite) {
		t.Error("the built-in policy was not written anew")
	}
	if _, err := s.UpdateToken(t.Context(), skerry.Token{Accessor: skerry.AnonymousAccessor}); err != nil {
		t.Fatal(err)
	}
	if !allows(t, g, "", skerry.ResourceKey, "a", skerry.AccessRead) {
		t.Error("the anonymous token was written anew, and grants nothing")
	}
}
