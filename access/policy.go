package access

import (
	"context"
	"regexp"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/access/rules"
	"github.com/skerryhq/skerry/decided/once"
)

var (
	policyNameForm = regexp.MustCompile(`^[A-Za-z0-9\-_]+(/[A-Za-z0-9\-_]*)?$`)
	roleNameForm   = regexp.MustCompile(`^[A-Za-z0-9\-_]+$`)
)

const (
	maxPolicyName = 128
	maxRoleName   = 256
)

func policyHash(p *skerry.Policy) []byte {
	return digest(p.Name, p.Description, p.Rules, p.Datacenters)
}

// Policy returns the policy with this ID, or nil.
func (s *Store) Policy(id string) *skerry.Policy {
	return read[skerry.Policy](s.kv.Snapshot(), policyKey(id))
}

// PolicyByName returns the policy of this name, or nil.
func (s *Store) PolicyByName(name string) *skerry.Policy {
	at := s.kv.Snapshot()
	return read[skerry.Policy](at, policyKey(policyByName(at, name)))
}

// Policies returns all policies, ordered by ID, and the index of the list.
func (s *Store) Policies() ([]*skerry.Policy, uint64) {
	return list[skerry.Policy](s.kv, policyPrefix)
}

func list[T any](kv skerry.KV, prefix string) (out []*T, index uint64) {
	index = kv.Changed(skerry.Below(prefix))
	for r := range kv.Snapshot().All(skerry.Below(prefix), "") {
		if v := decode[T](r); v != nil {
			out = append(out, v)
		}
	}
	return out, index
}

// PutPolicy makes a policy or, when p has an ID, replaces the one with it.
func (s *Store) PutPolicy(ctx context.Context, p skerry.Policy) (*skerry.Policy, error) {
	fresh := p.ID == ""
	if fresh {
		p.ID = once.ID(ctx)
	}
	if err := checkPolicy(&p); err != nil {
		return nil, err
	}
	p.Hash = policyHash(&p)
	_, err := once.Update(ctx, s.kv, nil, func(tx skerry.Tx) error {
		was := read[skerry.Policy](tx, policyKey(p.ID))
		switch {
		case broken(tx, policyKey(p.ID)): // it is replaced whole
			dropLinks(tx, policyNames, p.ID)
		case was == nil && !fresh:
			return skerry.Errorf(skerry.NotFound, "Invalid Policy: no such policy with ID %s", p.ID)
		case was != nil && reserved(p.ID) && (was.Rules != p.Rules || len(p.Datacenters) > 0):
			return skerry.Errorf(skerry.Invalid, "Changing the Rules or Datacenters of the builtin %s policy is not permitted", was.Name)
		}
		if other := policyByName(tx, p.Name); other != "" && other != p.ID {
			return skerry.Errorf(skerry.Conflict, "Invalid Policy: A Policy with Name %q already exists", p.Name)
		}
		if was != nil && was.Name != p.Name {
			tx.Delete(policyNameKey(was.Name))
		}
		put(tx, policyKey(p.ID), &p)
		tx.Put(policyNameKey(p.Name), []byte(p.ID), 0)
		return nil
	})
	s.gates.drop()
	if err != nil {
		return nil, err
	}
	return there(s.Policy(p.ID))
}

func checkPolicy(p *skerry.Policy) error {
	if p.Name == "" {
		return skerry.Errorf(skerry.Invalid, "Invalid Policy: no Name is set")
	}
	if len(p.Name) > maxPolicyName || !policyNameForm.MatchString(p.Name) {
		return skerry.Errorf(skerry.Invalid, "Invalid Policy: invalid Name. Only alphanumeric characters, a single '/', '-' and '_' are allowed")
	}
	_, err := rules.Parse(p.Rules)
	return err
}

// DeletePolicy removes a policy. Tokens and roles that link to it lose it.
func (s *Store) DeletePolicy(ctx context.Context, id string) error {
	for _, p := range rules.Builtin() {
		if p.ID == id {
			return skerry.Errorf(skerry.Invalid, "Delete operation not permitted on the builtin %s policy", p.Name)
		}
	}
	_, err := once.Update(ctx, s.kv, nil, func(tx skerry.Tx) error {
		if broken(tx, policyKey(id)) {
			dropLinks(tx, policyNames, id)
			tx.Delete(policyKey(id))
			return nil
		}
		p := read[skerry.Policy](tx, policyKey(id))
		if p == nil {
			return skerry.Errorf(skerry.NotFound, "Cannot find policy to delete")
		}
		tx.Delete(policyKey(id))
		tx.Delete(policyNameKey(p.Name))
		return nil
	})
	s.gates.drop()
	return err
}

// Role returns the role with this ID, or nil.
func (s *Store) Role(id string) *skerry.Role {
	at := s.kv.Snapshot()
	return shownRole(at, read[skerry.Role](at, roleKey(id)))
}

// RoleByName returns the role of this name, or nil.
func (s *Store) RoleByName(name string) *skerry.Role {
	at := s.kv.Snapshot()
	return shownRole(at, read[skerry.Role](at, roleKey(roleByName(at, name))))
}

func shownRole(at getter, r *skerry.Role) *skerry.Role {
	if r != nil {
		r.Policies = linked(at, r.Policies, policyName)
	}
	return r
}

// Roles returns all roles, ordered by ID, and the index of the list.
func (s *Store) Roles() ([]*skerry.Role, uint64) {
	out, index := list[skerry.Role](s.kv, rolePrefix)
	at := s.kv.Snapshot()
	for _, r := range out {
		shownRole(at, r)
	}
	return out, index
}

// PutRole makes a role or, when r has an ID, replaces the one with it.
func (s *Store) PutRole(ctx context.Context, r skerry.Role) (*skerry.Role, error) {
	fresh := r.ID == ""
	if fresh {
		r.ID = once.ID(ctx)
	}
	switch {
	case r.Name == "":
		return nil, skerry.Errorf(skerry.Invalid, "Invalid Role: no Name is set")
	case len(r.Name) > maxRoleName || !roleNameForm.MatchString(r.Name):
		return nil, skerry.Errorf(skerry.Invalid, "Invalid Role: invalid Name. Only alphanumeric characters, '-' and '_' are allowed")
	}
	_, err := once.Update(ctx, s.kv, nil, func(tx skerry.Tx) error {
		was := read[skerry.Role](tx, roleKey(r.ID))
		if broken(tx, roleKey(r.ID)) { // it is replaced whole
			dropLinks(tx, roleNames, r.ID)
		} else if was == nil && !fresh {
			return skerry.Errorf(skerry.NotFound, "cannot find role %s", r.ID)
		}
		if other := roleByName(tx, r.Name); other != "" && other != r.ID {
			return skerry.Errorf(skerry.Conflict, "Invalid Role: A Role with Name %q already exists", r.Name)
		}
		n := r
		if err := s.resolve(tx, &n.Grants, false); err != nil {
			return err
		}
		n.Hash = digest(n.Name, n.Description, ids(n.Policies), n.Services, n.Nodes, n.Templates)
		if was != nil && was.Name != n.Name {
			tx.Delete(roleNameKey(was.Name))
		}
		put(tx, roleKey(n.ID), &n)
		tx.Put(roleNameKey(n.Name), []byte(n.ID), 0)
		return nil
	})
	s.gates.drop()
	if err != nil {
		return nil, err
	}
	return there(s.Role(r.ID))
}

// DeleteRole removes a role. Tokens that link to it lose it.
func (s *Store) DeleteRole(ctx context.Context, id string) error {
	_, err := once.Update(ctx, s.kv, nil, func(tx skerry.Tx) error {
		if broken(tx, roleKey(id)) {
			dropLinks(tx, roleNames, id)
			tx.Delete(roleKey(id))
			return nil
		}
		r := read[skerry.Role](tx, roleKey(id))
		if r == nil {
			return skerry.Errorf(skerry.NotFound, "Cannot find role to delete")
		}
		tx.Delete(roleKey(id))
		tx.Delete(roleNameKey(r.Name))
		return nil
	})
	s.gates.drop()
	return err
}

// Templates returns the built-in templates of rules, ordered by name.
func (s *Store) Templates() []skerry.Template { return rules.Templates }

// FillTemplate returns the policy that a templated policy stands for. It is not stored.
func (s *Store) FillTemplate(t skerry.TemplatedPolicy) (*skerry.Policy, error) {
	if err := checkTemplate(t, false); err != nil {
		return nil, err
	}
	template := rules.Template(t.Template)
	p := skerry.Policy{
		Name: "synthetic-policy-" + hexOf(digest(t.Template, t.Name))[:16], Rules: rules.Fill(template, t.Name),
		Description: "synthetic policy generated from templated policy: " + t.Template, Datacenters: t.Datacenters,
	}
	p.ID, p.Hash = p.Name, policyHash(&p)
	return &p, nil
}

// WatchACL returns the index of the last change to the things of a kind (token,
// policy, role, method, binding), and a channel that is closed at the next.
func (s *Store) WatchACL(kind string) (uint64, <-chan struct{}) {
	return s.kv.Watch(skerry.Below(root + kind + "/"))
}

// ChangedACL is WatchACL's index alone.
func (s *Store) ChangedACL(kind string) uint64 { return s.kv.Changed(skerry.Below(root + kind + "/")) }
