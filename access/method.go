package access

import (
	"context"
	"regexp"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/access/rules"
	"github.com/skerryhq/skerry/decided/once"
	"github.com/skerryhq/skerry/filter"
)

// Verifier is one kind of auth method. All methods may be called from many
// goroutines.
type Verifier interface {
	// Check validates a method's Config; its error is of kind Invalid.
	Check(m *skerry.AuthMethod) error
	// Shape returns a result of Verify for the method, with empty values.
	Shape(m *skerry.AuthMethod) Verified
	// Verify asks whether the bearer's credential is good. An error of kind Denied means
	// that it is not, one of kind Unavailable that it could not be verified.
	Verify(ctx context.Context, m *skerry.AuthMethod, bearer string) (Verified, error)
}

// Verified is a verified bearer.
type Verified struct {
	Fields any               // the fields in selectors: a struct with bexpr tags
	Vars   map[string]string // values for ${name} in a BindName
}

var methodNameForm = regexp.MustCompile(`^[A-Za-z0-9\-_]{1,128}$`)

// Method returns the auth method of this name, or nil.
func (s *Store) Method(name string) *skerry.AuthMethod {
	return read[skerry.AuthMethod](s.kv.Snapshot(), methodKey(name))
}

// Methods returns all auth methods, ordered by name, and the index of the list.
func (s *Store) Methods() ([]*skerry.AuthMethod, uint64) {
	return list[skerry.AuthMethod](s.kv, methodPrefix)
}

// PutMethod makes an auth method, or replaces the one of its name: create selects which.
func (s *Store) PutMethod(ctx context.Context, m skerry.AuthMethod, create bool) (*skerry.AuthMethod, error) {
	if err := s.checkMethod(&m); err != nil {
		return nil, err
	}
	_, err := once.Update(ctx, s.kv, nil, func(tx skerry.Tx) error {
		was := read[skerry.AuthMethod](tx, methodKey(m.Name))
		switch {
		case create && was != nil:
			return skerry.Errorf(skerry.Conflict, "Invalid Auth Method: An auth method with Name %q already exists", m.Name)
		case !create && broken(tx, methodKey(m.Name)): // it is replaced whole
		case !create && was == nil:
			return skerry.Errorf(skerry.NotFound, "Cannot find auth method %q", m.Name)
		case was != nil && was.Type != m.Type:
			return skerry.Errorf(skerry.Invalid, "Changing an auth method's type from %q to %q is not permitted", was.Type, m.Type)
		}
		put(tx, methodKey(m.Name), &m)
		return nil
	})
	s.gates.drop()
	if err != nil {
		return nil, err
	}
	return there(s.Method(m.Name))
}

func (s *Store) checkMethod(m *skerry.AuthMethod) error {
	verifier := s.o.Verifiers[m.Type]
	switch {
	case m.Name == "":
		return skerry.Errorf(skerry.Invalid, "Invalid Auth Method: no Name is set")
	case !methodNameForm.MatchString(m.Name):
		return skerry.Errorf(skerry.Invalid, "Invalid Auth Method: invalid Name. Only alphanumeric characters, '-' and '_' are allowed")
	case verifier == nil:
		return skerry.Errorf(skerry.Invalid, "Invalid Auth Method: Type should be one of: jwt, kubernetes")
	case m.Locality != "" && m.Locality != "local" && m.Locality != "global":
		return skerry.Errorf(skerry.Invalid, "Invalid Auth Method: TokenLocality %q must be one of: \"local\", \"global\"", m.Locality)
	case m.Locality == "global" && s.o.Primary != "":
		return skerry.Errorf(skerry.Invalid, "Invalid Auth Method: TokenLocality 'global' can only be used in the primary datacenter")
	case m.MaxTTL != 0 && (m.MaxTTL < s.o.MinTTL || m.MaxTTL > maxTTL):
		return skerry.Errorf(skerry.Invalid, "Invalid Auth Method: MaxTokenTTL %s cannot be less than %s or more than %s", m.MaxTTL, s.o.MinTTL, maxTTL)
	}
	if err := verifier.Check(m); err != nil {
		return skerry.Errorf(skerry.Invalid, "Invalid Auth Method: %w", err)
	}
	return nil
}

// DeleteMethod removes an auth method, its binding rules, and the tokens that it
// made. Removing an unknown one is no error.
func (s *Store) DeleteMethod(ctx context.Context, name string) error {
	_, err := once.Update(ctx, s.kv, nil, func(tx skerry.Tx) error {
		if tx.Get(methodKey(name)) == nil {
			return nil
		}
		for _, r := range tx.All(bindingPrefix) {
			if b := decode[skerry.BindingRule](r); b != nil && b.Method == name {
				tx.Delete(r.Key)
			}
		}
		for _, r := range tx.All(tokenPrefix) {
			if st := decode[storedToken](r); st != nil && st.Method == name {
				s.remove(tx, &st.Token)
			}
		}
		tx.Delete(methodKey(name))
		return nil
	})
	s.gates.drop()
	return err
}

// Binding returns the binding rule with this ID, or nil.
func (s *Store) Binding(id string) *skerry.BindingRule {
	return read[skerry.BindingRule](s.kv.Snapshot(), bindingKey(id))
}

// Bindings returns the binding rules of a method, or all when it is empty,
// ordered by ID, and the index of the list.
func (s *Store) Bindings(method string) (out []*skerry.BindingRule, index uint64) {
	all, index := list[skerry.BindingRule](s.kv, bindingPrefix)
	for _, b := range all {
		if method == "" || b.Method == method {
			out = append(out, b)
		}
	}
	return out, index
}

// PutBinding makes a binding rule or, when b has an ID, replaces the one with it.
func (s *Store) PutBinding(ctx context.Context, b skerry.BindingRule) (*skerry.BindingRule, error) {
	fresh := b.ID == ""
	if fresh {
		b.ID = once.ID(ctx)
	}
	_, err := once.Update(ctx, s.kv, nil, func(tx skerry.Tx) error {
		was := read[skerry.BindingRule](tx, bindingKey(b.ID))
		n := b
		switch {
		case was == nil && !fresh:
			return skerry.Errorf(skerry.NotFound, "Cannot find binding rule %q", b.ID)
		case was != nil && n.Method == "":
			n.Method = was.Method
		case was != nil && n.Method != was.Method:
			return skerry.Errorf(skerry.Invalid, "Invalid Binding Rule: the AuthMethod field of a Binding Rule is immutable")
		case n.Method == "":
			return skerry.Errorf(skerry.Invalid, "Invalid Binding Rule: no AuthMethod is set")
		}
		m := read[skerry.AuthMethod](tx, methodKey(n.Method))
		if m == nil {
			return skerry.Errorf(skerry.Invalid, "Invalid Binding Rule: cannot find auth method with name %q", n.Method)
		}
		if err := s.checkBinding(&n, m); err != nil {
			return err
		}
		put(tx, bindingKey(n.ID), &n)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return there(s.Binding(b.ID))
}

func (s *Store) checkBinding(b *skerry.BindingRule, m *skerry.AuthMethod) error {
	verifier := s.o.Verifiers[m.Type]
	if verifier == nil {
		return skerry.Errorf(skerry.Unsupported, "Invalid Binding Rule: auth methods of type %q are not offered here", m.Type)
	}
	shape := verifier.Shape(m)
	if b.Selector != "" {
		if _, err := filter.New(b.Selector, shape.Fields); err != nil {
			return skerry.Errorf(skerry.Invalid, "Invalid Binding Rule: Selector is invalid: %w", err)
		}
	}
	if b.BindName == "" {
		return skerry.Errorf(skerry.Invalid, "Invalid Binding Rule: no BindName is set")
	}
	switch b.BindType {
	case "service", "node", "role", "policy":
		if b.BindVar != "" {
			return skerry.Errorf(skerry.Invalid, "Invalid Binding Rule: BindVars cannot be set when bind type is not templated-policy")
		}
	case "templated-policy":
		template := rules.Template(b.BindName)
		if template == nil {
			return skerry.Errorf(skerry.Invalid, "Invalid Binding Rule: no such ACL templated policy with Name %q", b.BindName)
		}
		if rules.Named(template) != (b.BindVar != "") {
			return skerry.Errorf(skerry.Invalid, "Invalid Binding Rule: set BindVars.Name where, and only where, the templated policy needs a name: %q", b.BindName)
		}
	default:
		return skerry.Errorf(skerry.Invalid, "Invalid Binding Rule: unknown BindType %q: it must be service, node, role, policy or templated-policy", b.BindType)
	}
	for _, text := range []string{b.BindName, b.BindVar} {
		if _, err := interpolate(text, shape.Vars); err != nil {
			return skerry.Errorf(skerry.Invalid, "Invalid Binding Rule: invalid bind name: %w", err)
		}
	}
	return nil
}

// DeleteBinding removes a binding rule. Removing an unknown one is no error.
func (s *Store) DeleteBinding(ctx context.Context, id string) error {
	_, err := once.Update(ctx, s.kv, nil, func(tx skerry.Tx) error {
		tx.Delete(bindingKey(id))
		return nil
	})
	return err
}

var variableForm = regexp.MustCompile(`\$\{\s*([^}]*?)\s*\}`)

// interpolate fills ${name} in. An unknown name is an error.
func interpolate(text string, vars map[string]string) (string, error) {
	var bad error
	out := variableForm.ReplaceAllStringFunc(text, func(m string) string {
		name := variableForm.FindStringSubmatch(m)[1]
		v, ok := vars[name]
		if !ok && bad == nil {
			bad = skerry.Errorf(skerry.Invalid, "there is no ${%s}", name)
		}
		return v
	})
	return out, bad
}

// verifyWithin bounds the wait of a login for the other system.
const verifyWithin = 10 * time.Second
