// Package jwt is the auth method for signed tokens of an identity provider: keys
// that are given, a JWKS address, or OIDC discovery.
package jwt

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/access"
)

// Config is a method's Config, with Consul's names.
type Config struct {
	JWTValidationPubKeys []string
	JWKSURL              string
	JWKSCACert           string
	OIDCDiscoveryURL     string
	OIDCDiscoveryCACert  string
	BoundIssuer          string
	BoundAudiences       []string
	ClaimMappings        map[string]string // claim → name, of single values
	ListClaimMappings    map[string]string // claim → name, of lists
	JWTSupportedAlgs     []string          // default RS256
	ExpirationLeeway     Duration
	NotBeforeLeeway      Duration
	ClockSkewLeeway      Duration
}

// Duration is a Go duration in JSON: a text, or nanoseconds.
type Duration time.Duration

// UnmarshalJSON implements [json.Unmarshaler].
func (d *Duration) UnmarshalJSON(b []byte) error {
	var n int64
	if json.Unmarshal(b, &n) == nil {
		*d = Duration(n)
		return nil
	}
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	v, err := time.ParseDuration(s)
	*d = Duration(v)
	return err
}

// The leeways, as Consul documents them: 0 is the default, below 0 none.
const (
	defaultSkew   = time.Minute
	defaultLeeway = 150 * time.Second
)

func leeway(d Duration, by time.Duration) time.Duration {
	switch {
	case d == 0:
		return by
	case d < 0:
		return 0
	}
	return time.Duration(d)
}

// algorithms are those that verify with a public key. A shared secret in a method would
// let all its readers make tokens.
var algorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.ES256, jose.ES384, jose.ES512, jose.PS256, jose.PS384, jose.PS512, jose.EdDSA,
}

// Verifier implements [access.Verifier].
type Verifier struct{ keys keyCache }

// New returns the verifier.
func New() *Verifier { return &Verifier{} }

// fields are the names in selectors.
type fields struct {
	Value map[string]string   `bexpr:"value"`
	List  map[string][]string `bexpr:"list"`
}

// Check implements [access.Verifier].
func (v *Verifier) Check(m *skerry.AuthMethod) error {
	c, err := access.Configured[Config](m)
	if err != nil {
		return err
	}
	ways := 0
	for _, set := range []bool{len(c.JWTValidationPubKeys) > 0, c.JWKSURL != "", c.OIDCDiscoveryURL != ""} {
		if set {
			ways++
		}
	}
	if ways != 1 {
		return skerry.Errorf(skerry.Invalid, "exactly one of 'JWTValidationPubKeys', 'JWKSURL', or 'OIDCDiscoveryURL' must be set for type \"jwt\"")
	}
	for _, p := range c.JWTValidationPubKeys {
		if _, err := publicKey(p); err != nil {
			return skerry.Errorf(skerry.Invalid, "error parsing public key: %w", err)
		}
	}
	for _, ca := range []string{c.JWKSCACert, c.OIDCDiscoveryCACert} {
		if ca != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(ca)) {
			return skerry.Errorf(skerry.Invalid, "JWKSCACert and OIDCDiscoveryCACert hold PEM certificates")
		}
	}
	for _, url := range []string{c.JWKSURL, c.OIDCDiscoveryURL} {
		if url != "" && !strings.HasPrefix(url, "https://") && !strings.HasPrefix(url, "http://") {
			return skerry.Errorf(skerry.Invalid, "%q is not an http or https address", url)
		}
	}
	if _, err := c.algorithms(); err != nil {
		return err
	}
	names := map[string]bool{}
	for _, mapping := range []map[string]string{c.ClaimMappings, c.ListClaimMappings} {
		for _, name := range mapping {
			if names[name] {
				return skerry.Errorf(skerry.Invalid, "ClaimMappings and ListClaimMappings contain the mapped name %q more than once", name)
			}
			names[name] = true
		}
	}
	return nil
}

func (c *Config) algorithms() ([]jose.SignatureAlgorithm, error) {
	if len(c.JWTSupportedAlgs) == 0 {
		return []jose.SignatureAlgorithm{jose.RS256}, nil
	}
	var out []jose.SignatureAlgorithm
	for _, a := range c.JWTSupportedAlgs {
		if !slices.Contains(algorithms, jose.SignatureAlgorithm(a)) {
			return nil, skerry.Errorf(skerry.Invalid, "unsupported signing algorithm %q in JWTSupportedAlgs: take one of %v", a, algorithms)
		}
		out = append(out, jose.SignatureAlgorithm(a))
	}
	return out, nil
}

func publicKey(text string) (crypto.PublicKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, fmt.Errorf("data does not contain any valid public keys")
	}
	if key, err := x509.ParsePKIXPublicKey(block.Bytes); err == nil {
		return key, nil
	}
	if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
		return cert.PublicKey, nil
	}
	return x509.ParsePKCS1PublicKey(block.Bytes)
}

// Shape implements [access.Verifier].
func (v *Verifier) Shape(m *skerry.AuthMethod) access.Verified {
	c, err := access.Configured[Config](m)
	if err != nil {
		return access.Verified{Fields: fields{}}
	}
	out, _ := c.verified(nil)
	return out
}

// Verify implements [access.Verifier].
func (v *Verifier) Verify(ctx context.Context, m *skerry.AuthMethod, bearer string) (access.Verified, error) {
	c, err := access.Configured[Config](m)
	if err != nil {
		return access.Verified{}, err
	}
	algs, err := c.algorithms()
	if err != nil {
		return access.Verified{}, err
	}
	token, err := jwt.ParseSigned(bearer, algs)
	if err != nil {
		return access.Verified{}, denied("failed to parse the token: %v", err)
	}
	var (
		standard jwt.Claims
		all      map[string]any
	)
	if err := v.claims(ctx, &c, m, token, &standard, &all); err != nil {
		return access.Verified{}, err
	}
	if err := c.valid(&standard, time.Now()); err != nil {
		return access.Verified{}, err
	}
	return c.verified(all)
}

func denied(format string, args ...any) error {
	return skerry.Errorf(skerry.Denied, "Permission denied: "+format, args...)
}

// claims checks the signature against the method's keys. When none fits, keys
// that were fetched are fetched again: the provider may have new ones.
func (v *Verifier) claims(ctx context.Context, c *Config, m *skerry.AuthMethod, token *jwt.JSONWebToken, into ...any) error {
	for _, again := range []bool{false, true} {
		keys, fetched, err := v.keys.of(ctx, c, m, again)
		if err != nil {
			return err
		}
		for _, key := range keys {
			if token.Claims(key, into...) == nil {
				return nil
			}
		}
		if !fetched {
			break
		}
	}
	return denied("no known key successfully validated the token signature")
}

// valid checks the token's issuer, audience and times. A token needs at least one of its
// three moments; the others follow from it, as in Consul.
func (c *Config) valid(s *jwt.Claims, now time.Time) error {
	skew := leeway(c.ClockSkewLeeway, defaultSkew)
	if s.Expiry == nil && s.NotBefore == nil && s.IssuedAt == nil {
		return denied("no issue time, notBefore, or expiration time encoded in token")
	}
	begin, end := s.NotBefore.Time(), s.Expiry.Time()
	if s.NotBefore == nil {
		if s.IssuedAt != nil {
			begin = s.IssuedAt.Time()
		} else {
			begin = end.Add(-leeway(c.NotBeforeLeeway, defaultLeeway))
		}
	}
	if s.Expiry == nil {
		latest := begin
		if s.IssuedAt != nil && s.IssuedAt.Time().After(latest) {
			latest = s.IssuedAt.Time()
		}
		end = latest.Add(leeway(c.ExpirationLeeway, defaultLeeway))
	}
	switch {
	case now.Add(skew).Before(begin):
		return denied("the token is not valid yet")
	case s.IssuedAt != nil && now.Add(skew).Before(s.IssuedAt.Time()):
		return denied("the token was issued in the future")
	case !now.Add(-skew).Before(end):
		return denied("the token has expired")
	case c.BoundIssuer != "" && s.Issuer != c.BoundIssuer:
		return denied("the token's issuer is not the bound one")
	case len(c.BoundAudiences) > 0 && !slices.ContainsFunc(c.BoundAudiences, s.Audience.Contains):
		return denied("the token's audience is not among the bound ones")
	case len(c.BoundAudiences) == 0 && len(s.Audience) > 0:
		return denied("the token has an audience, and the auth method names none in BoundAudiences")
	}
	return nil
}

// verified maps the claims to the names that binding rules know.
func (c *Config) verified(claims map[string]any) (access.Verified, error) {
	f := fields{Value: map[string]string{}, List: map[string][]string{}}
	vars := map[string]string{}
	for claim, name := range c.ClaimMappings {
		text := ""
		switch v := lookup(claims, claim).(type) {
		case nil:
		case string:
			text = v
		case bool, float64, json.Number:
			text = fmt.Sprint(v)
		default:
			return access.Verified{}, denied("the claim %q is not a single value", claim)
		}
		f.Value[name] = text
		vars["value."+name] = text
	}
	for claim, name := range c.ListClaimMappings {
		list := []string{}
		switch v := lookup(claims, claim).(type) {
		case nil:
		case []any:
			for _, e := range v {
				list = append(list, fmt.Sprint(e))
			}
		case string, bool, float64:
			list = append(list, fmt.Sprint(v))
		default:
			return access.Verified{}, denied("the claim %q is not a list", claim)
		}
		f.List[name] = list
	}
	return access.Verified{Fields: f, Vars: vars}, nil
}

// lookup returns a claim: by its name, or by a JSON pointer to one within others.
func lookup(claims map[string]any, claim string) any {
	if !strings.HasPrefix(claim, "/") {
		return claims[claim]
	}
	var at any = claims
	for _, part := range strings.Split(claim[1:], "/") {
		m, ok := at.(map[string]any)
		if !ok {
			return nil
		}
		at = m[strings.NewReplacer("~1", "/", "~0", "~").Replace(part)]
	}
	return at
}
