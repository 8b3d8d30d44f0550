package access

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/access/rules"
	"github.com/skerryhq/skerry/decided/once"
	"github.com/skerryhq/skerry/filter"
)

// Login makes a token for a credential that the method accepts and that its binding rules
// grant something. meta is part of the token's description.
func (s *Store) Login(ctx context.Context, method, bearer string, meta map[string]string) (*skerry.Token, error) {
	if once.Replays(ctx) {
		return s.create(ctx, skerry.Token{})
	}
	if err := s.Sound("method", method); err != nil {
		return nil, err
	}
	m := s.Method(method)
	if m == nil {
		if s.o.Hide {
			return nil, errRefusedLogin
		}
		return nil, skerry.Errorf(skerry.Denied, "ACL not found: auth method %q not found", method)
	}
	verifier := s.o.Verifiers[m.Type]
	if verifier == nil {
		return nil, skerry.Errorf(skerry.Unsupported, "auth methods of type %q are not offered here", m.Type)
	}
	asking, cancel := context.WithTimeout(ctx, verifyWithin)
	defer cancel()
	who, err := verifier.Verify(asking, m, bearer)
	if err != nil {
		s.tellLogin(m.Name, err)
		if s.o.Hide && skerry.KindOf(err) == skerry.Denied {
			s.log.Info("a login is refused", "method", m.Name, "error", err)
			return nil, errRefusedLogin
		}
		return nil, err
	}
	t := skerry.Token{Method: m.Name, Local: m.Locality != "global", Description: "token created via login"}
	if len(meta) > 0 {
		if b, err := json.Marshal(meta); err == nil {
			t.Description += ": " + string(b)
		}
	}
	if m.MaxTTL > 0 {
		t.Expires = time.Now().UTC().Add(m.MaxTTL)
	}
	if err := s.bind(&t, m, who); err != nil {
		return nil, err
	}
	if len(t.Policies)+len(t.Roles)+len(t.Services)+len(t.Nodes)+len(t.Templates) == 0 {
		return nil, errRefusedLogin
	}
	return s.create(ctx, t)
}

// errRefusedLogin is the answer to a login that grants nothing. Where names are hidden
// the answer has no more, since the caller has no identity yet: the log has the reason.
var errRefusedLogin = skerry.Errorf(skerry.Denied, "Permission denied")

// tellLogin logs why a credential could not be verified. The address is for the log
// alone; a line is logged once in a while for each method.
func (s *Store) tellLogin(method string, err error) {
	cause := errors.Unwrap(err)
	if skerry.KindOf(err) != skerry.Unavailable || cause == nil {
		return
	}
	now := time.Now()
	was, told := s.loginFaults.Load(method)
	if told && now.Sub(was.(time.Time)) < tellLoginEvery {
		return
	}
	s.loginFaults.Store(method, now)
	s.log.Warn("a login cannot be verified: the system that vouches for it fails", "method", method, "error", cause)
}

// tellLoginEvery is how often failures of one method are logged.
const tellLoginEvery = 10 * time.Second

// bind adds to a token the grants of the method's binding rules for the verified
// identity. Missing roles and policies grant nothing; a name that cannot be one grants
// nothing either, since it comes from outside.
func (s *Store) bind(t *skerry.Token, m *skerry.AuthMethod, who Verified) error {
	// A damaged one may have bound a policy that denies something.
	for _, kind := range []string{"binding", "policy-name", "role-name"} {
		if err := s.Sound(kind, ""); err != nil {
			return err
		}
	}
	bindings, _ := s.Bindings(m.Name)
	at := s.kv.Snapshot()
	for _, b := range bindings {
		if !selects(b.Selector, who.Fields) {
			continue
		}
		name, err := interpolate(b.BindName, who.Vars)
		if err != nil {
			return skerry.Errorf(skerry.Internal, "cannot compute the bind name of binding rule %s: %w", b.ID, err)
		}
		switch b.BindType {
		case "service":
			i := skerry.ServiceIdentity{Service: name}
			if err := checkServiceIdentity(i, t.Local); err != nil {
				s.log.Warn("a login computed a service name that cannot be one", "method", m.Name, "rule", b.ID, "error", err)
			} else if !slices.ContainsFunc(t.Services, func(o skerry.ServiceIdentity) bool { return o.Service == name }) {
				t.Services = append(t.Services, i)
			}
		case "node":
			if i := (skerry.NodeIdentity{Node: name, Datacenter: s.o.Datacenter}); nodeNameForm.MatchString(name) && len(name) <= maxIdentityName && !slices.Contains(t.Nodes, i) {
				t.Nodes = append(t.Nodes, i)
			}
		case "role":
			if id := roleByName(at, name); id != "" {
				t.Roles = append(t.Roles, skerry.Link{ID: id})
			}
		case "policy":
			if id := policyByName(at, name); id != "" {
				t.Policies = append(t.Policies, skerry.Link{ID: id})
			}
		case "templated-policy":
			s.bindTemplate(t, b, name, who)
		}
	}
	return nil
}

func (s *Store) bindTemplate(t *skerry.Token, b *skerry.BindingRule, name string, who Verified) {
	v, err := interpolate(b.BindVar, who.Vars)
	g := skerry.TemplatedPolicy{Template: name, Name: v}
	if err != nil || rules.Template(name) == nil || checkTemplate(g, t.Local) != nil {
		s.log.Warn("a login computed a templated policy that cannot be one", "method", b.Method, "rule", b.ID)
		return
	}
	if !slices.ContainsFunc(t.Templates, func(o skerry.TemplatedPolicy) bool { return o.Template == g.Template && o.Name == g.Name }) {
		t.Templates = append(t.Templates, g)
	}
}

// selects reports whether the selector holds; an empty one always does.
func selects(selector string, fields any) bool {
	if selector == "" {
		return true
	}
	f, err := filter.New(selector, fields)
	if err != nil {
		return false
	}
	ok, err := f.Match(fields)
	return err == nil && ok
}

// Logout removes the token of this secret. It must have been made by a login.
func (s *Store) Logout(ctx context.Context, secret string) error {
	t := s.TokenBySecret(secret)
	switch {
	case once.Replays(ctx):
		return s.DeleteToken(ctx, "")
	case t == nil:
		return s.errUnknown()
	case t.Method == "":
		return skerry.Errorf(skerry.Denied, "Permission denied: token wasn't created via login")
	}
	return s.DeleteToken(ctx, t.Accessor)
}
