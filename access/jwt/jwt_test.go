package jwt_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	josejwt "github.com/go-jose/go-jose/v4/jwt"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/access"
	"github.com/skerryhq/skerry/access/jwt"
	"github.com/skerryhq/skerry/quorum/replica/replicatest"
)

func newKey(t *testing.T) (*ecdsa.PrivateKey, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return key, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func sign(t *testing.T, key *ecdsa.PrivateKey, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := josejwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// with returns good claims with some changed; a nil takes one away.
func with(change map[string]any) map[string]any {
	now := time.Now()
	c := map[string]any{
		"iss": "idp", "aud": []string{"skerry"}, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "sub": "ann",
		"team": "web", "groups": []string{"dev", "ops"}, "deep": map[string]any{"zone": "z1"},
	}
	for k, v := range change {
		if c[k] = v; v == nil {
			delete(c, k)
		}
	}
	return c
}

func config(more map[string]any) map[string]any {
	c := map[string]any{
		"BoundIssuer": "idp", "BoundAudiences": []string{"skerry"}, "JWTSupportedAlgs": []string{"ES256"},
		"ClaimMappings": map[string]any{"team": "team", "/deep/zone": "zone"}, "ListClaimMappings": map[string]any{"groups": "groups"},
	}
	for k, v := range more {
		c[k] = v
	}
	return c
}

func TestVerify(t *testing.T) {
	key, public := newKey(t)
	other, _ := newKey(t)
	m := &skerry.AuthMethod{Name: "m", Type: "jwt", Config: config(map[string]any{"JWTValidationPubKeys": []string{public}})}
	v := jwt.New()
	if err := v.Check(m); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for _, tc := range []struct {
		name   string
		key    *ecdsa.PrivateKey
		change map[string]any
		fault  string
	}{
		{"good", key, nil, ""},
		{"another key", other, nil, "no known key"},
		{"expired", key, map[string]any{"exp": now.Add(-2 * time.Minute).Unix()}, "has expired"},
		{"expired within the skew", key, map[string]any{"exp": now.Add(-30 * time.Second).Unix()}, ""},
		{"not yet", key, map[string]any{"nbf": now.Add(2 * time.Minute).Unix()}, "not valid yet"},
		{"issued in the future", key, map[string]any{"nbf": now.Unix(), "iat": now.Add(time.Hour).Unix()}, "in the future"},
		{"no time at all", key, map[string]any{"exp": nil, "iat": nil}, "no issue time"},
		{"no expiry, old", key, map[string]any{"exp": nil, "iat": now.Add(-time.Hour).Unix()}, "has expired"},
		{"no expiry, young", key, map[string]any{"exp": nil}, ""},
		{"another issuer", key, map[string]any{"iss": "evil"}, "issuer"},
		{"another audience", key, map[string]any{"aud": "other"}, "audience"},
		{"no audience", key, map[string]any{"aud": nil}, "audience"},
		{"a list for a value", key, map[string]any{"team": []string{"a"}}, "not a single value"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := v.Verify(t.Context(), m, sign(t, tc.key, with(tc.change)))
			if tc.fault != "" {
				if skerry.KindOf(err) != skerry.Denied || !strings.Contains(err.Error(), tc.fault) {
					t.Errorf("%v, want %s", err, tc.fault)
				}
				return
			}
			if err != nil || got.Vars["value.team"] != "web" || got.Vars["value.zone"] != "z1" {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
	if _, err := v.Verify(t.Context(), m, "eyJhbGciOiJub25lIn0.e30."); skerry.KindOf(err) != skerry.Denied {
		t.Errorf("a token without a signature: %v", err)
	}
}

func TestCheck(t *testing.T) {
	_, public := newKey(t)
	for _, tc := range []struct {
		config map[string]any
		fault  string
	}{
		{config(nil), "exactly one of"},
		{config(map[string]any{"JWKSURL": "https://x", "OIDCDiscoveryURL": "https://x"}), "exactly one of"},
		{config(map[string]any{"JWTValidationPubKeys": []string{"x"}}), "error parsing public key"},
		{config(map[string]any{"JWKSURL": "ftp://x"}), "not an http or https address"},
		{config(map[string]any{"JWKSURL": "https://x", "JWKSCACert": "x"}), "PEM"},
		{config(map[string]any{"JWKSURL": "https://x", "JWTSupportedAlgs": []string{"HS256"}}), "unsupported signing algorithm"},
		{config(map[string]any{"JWKSURL": "https://x", "Unknown": 1}), "unknown field"},
		{config(map[string]any{"JWTValidationPubKeys": []string{public}, "ListClaimMappings": map[string]any{"a": "team"}}), "more than once"},
		{config(map[string]any{"JWTValidationPubKeys": []string{public}, "ClockSkewLeeway": "x"}), "invalid duration"},
	} {
		err := jwt.New().Check(&skerry.AuthMethod{Name: "m", Config: tc.config})
		if skerry.KindOf(err) != skerry.Invalid || !strings.Contains(err.Error(), tc.fault) {
			t.Errorf("%v, want %s", err, tc.fault)
		}
	}
}

// A provider with JWKS and OIDC discovery, over HTTPS, that changes its key.
func TestFetchedKeys(t *testing.T) {
	var key atomic.Pointer[ecdsa.PrivateKey]
	first, _ := newKey(t)
	key.Store(first)
	var asked atomic.Int32
	var issuer string
	mux := http.NewServeMux()
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.Load().PublicKey, KeyID: "k", Algorithm: "ES256"}}})
	})
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(map[string]string{"issuer": issuer, "jwks_uri": issuer + "/keys"})
	})
	idp := httptest.NewTLSServer(mux)
	defer idp.Close()
	issuer = idp.URL
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: idp.Certificate().Raw}))
	for _, more := range []map[string]any{{"JWKSURL": idp.URL + "/keys", "JWKSCACert": ca}, {"OIDCDiscoveryURL": idp.URL, "OIDCDiscoveryCACert": ca}} {
		m := &skerry.AuthMethod{Name: "m", Type: "jwt", Config: config(more)}
		v := jwt.New()
		asked.Store(0)
		for range 3 {
			if _, err := v.Verify(t.Context(), m, sign(t, key.Load(), with(nil))); err != nil {
				t.Fatal(err)
			}
		}
		if n := asked.Load(); n != 1 {
			t.Errorf("asked %d times for keys that did not change", n)
		}
		bad, _ := newKey(t)
		for range 3 {
			if _, err := v.Verify(t.Context(), m, sign(t, bad, with(nil))); skerry.KindOf(err) != skerry.Denied {
				t.Errorf("another's key: %v", err)
			}
		}
		if n := asked.Load(); n != 1 {
			t.Errorf("bad tokens made us ask %d times", n)
		}
		m.Modified++ // the method was written again: its keys are fetched anew
		next, _ := newKey(t)
		key.Store(next)
		if _, err := v.Verify(t.Context(), m, sign(t, next, with(nil))); err != nil {
			t.Errorf("after a change of keys: %v", err)
		}
	}
	gone := &skerry.AuthMethod{Name: "m", Type: "jwt", Config: config(map[string]any{"JWKSURL": idp.URL + "/none", "JWKSCACert": ca})}
	if _, err := jwt.New().Verify(t.Context(), gone, sign(t, key.Load(), with(nil))); skerry.KindOf(err) != skerry.Unavailable {
		t.Errorf("without keys: %v", err)
	}
}

func TestLogin(t *testing.T) {
	key, public := newKey(t)
	s, err := access.New(access.Options{KV: replicatest.NewMemory(), Datacenter: "dc1", Verifiers: map[string]access.Verifier{"jwt": jwt.New()}})
	if err != nil || s.Init(t.Context()) != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if _, err := s.PutMethod(ctx, skerry.AuthMethod{Name: "m", Type: "jwt", MaxTTL: time.Hour, Config: config(map[string]any{"JWTValidationPubKeys": []string{public}})}, true); err != nil {
		t.Fatal(err)
	}
	bearer := sign(t, key, with(nil))
	if _, err := s.Login(ctx, "m", bearer, nil); skerry.KindOf(err) != skerry.Denied {
		t.Errorf("without a binding rule: %v", err)
	}
	if _, err := s.PutPolicy(ctx, skerry.Policy{Name: "team-web"}); err != nil {
		t.Fatal(err)
	}
	for _, b := range []skerry.BindingRule{
		{Method: "m", BindType: "service", BindName: "${value.team}-api", Selector: `"ops" in list.groups`},
		{Method: "m", BindType: "service", BindName: "never", Selector: `value.team == "db"`},
		{Method: "m", BindType: "policy", BindName: "team-${value.team}"},
		{Method: "m", BindType: "role", BindName: "not-there"},
		{Method: "m", BindType: "node", BindName: "${value.zone}-node"},
		{Method: "m", BindType: "templated-policy", BindName: "builtin/service", BindVar: "${value.team}"},
	} {
		if _, err := s.PutBinding(ctx, b); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		rule  skerry.BindingRule
		fault string
	}{
		{skerry.BindingRule{Method: "none", BindType: "role", BindName: "x"}, "cannot find auth method"},
		{skerry.BindingRule{Method: "m", BindType: "king", BindName: "x"}, "unknown BindType"},
		{skerry.BindingRule{Method: "m", BindType: "role"}, "no BindName"},
		{skerry.BindingRule{Method: "m", BindType: "role", BindName: "${value.none}"}, "there is no ${value.none}"},
		{skerry.BindingRule{Method: "m", BindType: "role", BindName: "x", Selector: "nothing =="}, "Selector is invalid"},
		{skerry.BindingRule{Method: "m", BindType: "templated-policy", BindName: "builtin/service"}, "BindVars"},
	} {
		if _, err := s.PutBinding(ctx, tc.rule); err == nil || !strings.Contains(err.Error(), tc.fault) {
			t.Errorf("%v, want %s", err, tc.fault)
		}
	}
	made, err := s.Login(ctx, "m", bearer, map[string]string{"pod": "p1"})
	if err != nil {
		t.Fatal(err)
	}
	if len(made.Services) != 1 || made.Services[0].Service != "web-api" || len(made.Policies) != 1 || made.Policies[0].Name != "team-web" || len(made.Roles) != 0 ||
		len(made.Nodes) != 1 || made.Nodes[0].Node != "z1-node" || len(made.Templates) != 1 || made.Templates[0].Name != "web" {
		t.Errorf("made %+v", made)
	}
	if !made.Local || made.Method != "m" || time.Until(made.Expires) > time.Hour || made.Description != `token created via login: {"pod":"p1"}` {
		t.Errorf("made %+v", made)
	}
	g := access.NewGate(s, nil)
	if who, err := g.Identify(made.Secret); err != nil || !who.Allows("service", "web-api", skerry.AccessWrite) {
		t.Errorf("%v, %v", who, err)
	}
	if err := s.Logout(ctx, made.Secret); err != nil {
		t.Error(err)
	}
	if _, err := g.Identify(made.Secret); skerry.KindOf(err) != skerry.Denied {
		t.Errorf("after the logout: %v", err)
	}
	again, err := s.Login(ctx, "m", bearer, nil)
	if err != nil || s.DeleteMethod(ctx, "m") != nil {
		t.Fatal(err)
	}
	if _, err := g.Identify(again.Secret); err == nil {
		t.Error("the tokens of a removed method are left")
	}
	if left, _ := s.Bindings(""); len(left) != 0 {
		t.Error("the binding rules of a removed method are left")
	}
	if _, err := s.Login(ctx, "none", bearer, nil); err == nil || err.Error() != `ACL not found: auth method "none" not found` {
		t.Errorf("%v", err)
	}
}
