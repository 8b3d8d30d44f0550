package rules

import (
	"fmt"
	"strings"

	"github.com/hashicorp/hcl"
	"github.com/hashicorp/hcl/hcl/ast"
	"github.com/hashicorp/hcl/hcl/scanner"
	"github.com/hashicorp/hcl/hcl/token"
	jsonscanner "github.com/hashicorp/hcl/json/scanner"
	jsontoken "github.com/hashicorp/hcl/json/token"

	"github.com/skerryhq/skerry"
)

// The bounds of a policy's text. The parser recurses, so its depth is bounded
// before it starts.
const (
	maxText  = 512 << 10
	maxDepth = 32
)

// Parse reads rules in HCL or JSON. Errors are of kind [skerry.Invalid]; their
// wording is Consul's where it was recorded.
func Parse(text string) (out []Rule, err error) {
	if len(text) > maxText {
		return nil, skerry.Errorf(skerry.Invalid, "Failed to parse ACL rules: %d bytes are too many, at most %d are taken", len(text), maxText)
	}
	// The library's parsers and scanners panic on some malformed input.
	defer func() {
		if p := recover(); p != nil {
			out, err = nil, skerry.Errorf(skerry.Invalid, "Failed to parse ACL rules: %v", p)
		}
	}()
	if tooDeep(text) {
		return nil, skerry.Errorf(skerry.Invalid, "Failed to parse ACL rules: brackets are nested more than %d deep", maxDepth)
	}
	file, err := hcl.Parse(text)
	if err != nil {
		return nil, skerry.Errorf(skerry.Invalid, "Failed to parse ACL rules: %w", err)
	}
	list, ok := file.Node.(*ast.ObjectList)
	if !ok {
		return nil, skerry.Errorf(skerry.Invalid, "Failed to parse ACL rules: the rules are not an object")
	}
	p := parser{}
	for _, item := range list.Items {
		if err := p.item(item); err != nil {
			return nil, err
		}
	}
	return p.rules, nil
}

// tooDeep reports whether brackets are nested too deep. It reads the text with the
// parsers' own scanners: a bracket in a comment or a string is none for both.
func tooDeep(text string) bool {
	if strings.HasPrefix(strings.TrimSpace(text), "{") {
		s := jsonscanner.New([]byte(text))
		s.Error = func(jsontoken.Pos, string) {} // the parser reports it
		return nested(func() (bracket int, more bool) {
			t := s.Scan().Type
			return bracketOf(t == jsontoken.LBRACE || t == jsontoken.LBRACK, t == jsontoken.RBRACE || t == jsontoken.RBRACK), t != jsontoken.EOF
		})
	}
	s := scanner.New([]byte(text))
	s.Error = func(token.Pos, string) {}
	return nested(func() (bracket int, more bool) {
		t := s.Scan().Type
		return bracketOf(t == token.LBRACE || t == token.LBRACK, t == token.RBRACE || t == token.RBRACK), t != token.EOF
	})
}

func bracketOf(opens, closes bool) int {
	switch {
	case opens:
		return 1
	case closes:
		return -1
	}
	return 0
}

// nested reports whether the brackets of a text nest deeper than maxDepth.
func nested(next func() (bracket int, more bool)) bool {
	for depth := 0; ; {
		bracket, more := next()
		if depth += bracket; depth > maxDepth {
			return true
		}
		if !more {
			return false
		}
	}
}

type parser struct{ rules []Rule }

// item reads one member of the top level: `acl = "read"`, `key "a" { … }`, or
// JSON's "key": {"a": {…}}.
func (p *parser) item(item *ast.ObjectItem) error {
	kind := item.Keys[0].Token.Value().(string)
	if nameless[skerry.Resource(kind)] {
		return p.single(skerry.Resource(kind), item)
	}
	resource, prefix := strings.CutSuffix(kind, "_prefix")
	r := skerry.Resource(resource)
	if number(r) < 0 || nameless[r] {
		return unknown(kind, item)
	}
	return p.named(Rule{Resource: r, Prefix: prefix}, kind, item.Keys[1:], item.Val)
}

func unknown(kind string, item *ast.ObjectItem) error {
	switch kind {
	case "namespace", "namespace_prefix", "partition", "partition_prefix":
		return skerry.Errorf(skerry.Invalid, "Failed to parse ACL rules: %s rules are a feature of Consul Enterprise: write the rules in it at the top level", kind)
	}
	return skerry.Errorf(skerry.Invalid, "Failed to parse ACL rules: At %s: there are no %q rules; known are acl, agent, event, key, keyring, mesh, node, operator, peering, query, service and session, those with names also as NAME_prefix", item.Pos(), kind)
}

// named reads the rest of a rule behind its kind: the names yet to come, then the object
// with the policy.
func (p *parser) named(r Rule, kind string, keys []*ast.ObjectKey, val ast.Node) error {
	switch {
	case len(keys) > 1:
		return skerry.Errorf(skerry.Invalid, "Failed to parse ACL rules: At %s: a %s rule has one name", val.Pos(), kind)
	case len(keys) == 1:
		r.Name = keys[0].Token.Value().(string)
		return p.policy(r, kind, val)
	}
	switch v := val.(type) {
	case *ast.ObjectType:
		for _, item := range v.List.Items {
			if err := p.named(r, kind, item.Keys, item.Val); err != nil {
				return err
			}
		}
		return nil
	case *ast.ListType: // JSON: [{"a": {…}}, …]
		for _, element := range v.List {
			if err := p.named(r, kind, nil, element); err != nil {
				return err
			}
		}
		return nil
	}
	return skerry.Errorf(skerry.Invalid, "Failed to parse ACL rules: At %s: a %s rule is written %s \"name\" { policy = \"read\" }", val.Pos(), kind, kind)
}

// policy reads the object with a rule's policy.
func (p *parser) policy(r Rule, kind string, val ast.Node) error {
	if list, ok := val.(*ast.ListType); ok { // JSON: {"a": [{…}]}
		for _, element := range list.List {
			if err := p.policy(r, kind, element); err != nil {
				return err
			}
		}
		return nil
	}
	object, ok := val.(*ast.ObjectType)
	if !ok {
		return skerry.Errorf(skerry.Invalid, "Failed to parse ACL rules: At %s: a %s rule is written %s \"name\" { policy = \"read\" }", val.Pos(), kind, kind)
	}
	var policy, intentions string
	for _, item := range object.List.Items {
		key := item.Keys[0].Token.Value().(string)
		text, isText := word(item.Val)
		switch {
		case key == "policy" && isText:
			policy = text
		case key == "intentions" && isText && r.Resource == skerry.ResourceService:
			intentions = text
		case key == "sentinel" && r.Resource == skerry.ResourceKey:
			return skerry.Errorf(skerry.Invalid, "Failed to parse ACL rules: At %s: sentinel code is a feature of Consul Enterprise", item.Pos())
		default:
			return skerry.Errorf(skerry.Invalid, "Failed to parse ACL rules: At %s: a %s rule has no %q; it is written %s \"name\" { policy = \"read\" }", item.Pos(), kind, key, kind)
		}
	}
	var known bool
	if r.Access, known = access(policy, r.Resource); !known {
		return invalidPolicy(r, policy, intentions)
	}
	if intentions != "" {
		// Intentions belong to the mesh: they are read, and decide nothing.
		if _, known := access(intentions, r.Resource); !known {
			return skerry.Errorf(skerry.Invalid, "Invalid service intentions policy: %s", recordedRule(r, policy, intentions))
		}
	}
	p.rules = append(p.rules, r)
	return nil
}

// single reads a rule of a resource without names.
func (p *parser) single(r skerry.Resource, item *ast.ObjectItem) error {
	text, ok := word(item.Val)
	if !ok || len(item.Keys) > 1 {
		return skerry.Errorf(skerry.Invalid, "Failed to parse ACL rules: At %s: an %s rule is written %s = \"read\"", item.Pos(), r, r)
	}
	a, known := access(text, r)
	if !known {
		return skerry.Errorf(skerry.Invalid, "Invalid %s policy: %q is not among deny, read and write", r, text)
	}
	p.rules = append(p.rules, Rule{Resource: r, Access: a})
	return nil
}

func word(n ast.Node) (string, bool) {
	l, ok := n.(*ast.LiteralType)
	if !ok || l.Token.Type != token.STRING && l.Token.Type != token.HEREDOC {
		return "", false
	}
	s, ok := l.Token.Value().(string)
	return s, ok
}

func access(word string, r skerry.Resource) (skerry.Access, bool) {
	switch word {
	case "deny":
		return skerry.AccessNone, true
	case "read":
		return skerry.AccessRead, true
	case "write":
		return skerry.AccessWrite, true
	case "list":
		return skerry.AccessList, r == skerry.ResourceKey
	}
	return skerry.AccessNone, false
}

// invalidPolicy words a bad access. The message for services was recorded from Consul;
// the others name the valid ones.
func invalidPolicy(r Rule, policy, intentions string) error {
	if r.Resource == skerry.ResourceService {
		return skerry.Errorf(skerry.Invalid, "Invalid service policy: %s", recordedRule(r, policy, intentions))
	}
	words := "deny, read and write"
	if r.Resource == skerry.ResourceKey {
		words = "deny, read, list and write"
	}
	return skerry.Errorf(skerry.Invalid, "Invalid %s policy: %q of %q is not among %s", r.Resource, policy, r.Name, words)
}

func recordedRule(r Rule, policy, intentions string) string {
	return fmt.Sprintf("&acl.ServiceRule{Name:%q, Policy:%q, Intentions:%q, EnterpriseRule:acl.EnterpriseRule{}}", r.Name, policy, intentions)
}
