package consul

import (
	"net/http"
	"strings"
	"time"
)

// Requests that the primary datacenter answers, at the servers of another one.

// withTokens makes an endpoint of auth methods fail where tokens are not copied: logins make local ones.
func withTokens(do func(*request) error) func(*request) error {
	return acl(func(q *request) error {
		if p := q.f.b.Primary; p != nil && !p.Tokens {
			return serverError("Token replication is required for auth methods to function")
		}
		return do(q)
	})
}

// aclChanges reports whether a request changes a policy or a role.
func (q *request) aclChanges() bool { return q.r.Method != http.MethodGet }

// aclMakesGlobal reports whether a request makes a token that is not local.
func (q *request) aclMakesGlobal() bool { return !q.localInBody() }

// aclNotLocal reports whether a request is about one token that is not local, unless the copy answers.
func (q *request) aclNotLocal() bool {
	accessor, clone := strings.CutSuffix(q.rest, "/clone")
	switch {
	case accessor == "":
		return false
	case q.r.Method == http.MethodGet && q.f.b.Primary.Tokens:
		return false
	case q.r.Method == http.MethodPut && !clone && q.localInBody():
		return false
	}
	t := q.f.b.ACL.Token(accessor)
	return t == nil || !t.Local
}

// aclNotCopied reports whether tokens are not copied: the primary datacenter has the list.
func (q *request) aclNotCopied() bool { return !q.f.b.Primary.Tokens }

// aclSelfNotHere reports whether this datacenter does not have the caller's own token.
func (q *request) aclSelfNotHere() bool {
	q.takeToken()
	if q.f.b.Primary.Tokens || q.p.token == "" {
		return false
	}
	t := q.f.b.ACL.TokenBySecret(q.p.token)
	return t == nil || !t.Local
}

// localInBody reports whether the token in the body is to be local. A body that is not valid is refused here.
func (q *request) localInBody() bool {
	var body struct{ Local bool }
	return q.peek(&body) != nil || body.Local
}

func (q *request) aclReplication() error {
	out := struct {
		Enabled              bool
		Running              bool
		SourceDatacenter     string
		ReplicationType      string
		ReplicatedIndex      uint64
		ReplicatedRoleIndex  uint64
		ReplicatedTokenIndex uint64
		LastSuccess          time.Time
		LastError            time.Time
		LastErrorMessage     string
	}{}
	if p := q.f.b.Primary; p != nil {
		s := p.State()
		out.Enabled, out.Running, out.SourceDatacenter, out.ReplicationType = true, s.Running, s.Source, "policies"
		out.ReplicatedIndex, out.ReplicatedRoleIndex = s.PolicyIndex, s.RoleIndex
		if s.Tokens {
			out.ReplicationType, out.ReplicatedTokenIndex = "tokens", s.TokenIndex
		}
		out.LastSuccess, out.LastError, out.LastErrorMessage = s.Success.Truncate(time.Second), s.Failure.Truncate(time.Second), s.Reason
	}
	return q.json(out)
}
