// Package remote decides about access at an agent: it asks a server once for the holder of a token, and
// decides by the answer from then on. It has no socket: the way to servers is given to it.
package remote

import (
	"context"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/access"
	"github.com/skerryhq/skerry/access/rules"
)

// Question asks a server for the holders of tokens.
type Question struct {
	Tokens []Asked
	// Datacenter is where they act, if that is another one than the server's.
	Datacenter string `json:",omitempty"`
}

// Asked is one token of a question.
type Asked struct {
	Secret string
	Key    string `json:",omitempty"` // of the policies that the asker knows
}

// Answer answers a [Question].
type Answer struct {
	Index    uint64         // of the server's tokens and policies
	Defaults rules.Defaults // the access to names without a rule
	Hides    bool           // see [skerry.Gate.Hides]
	// Found answers the tokens of the question in their order. It may be shorter: the others are to be
	// asked for again.
	Found []Found
}

// Found answers for one token.
type Found struct {
	Refused string         `json:",omitempty"` // why the token is refused; the other fields are empty then
	Same    bool           `json:",omitempty"` // the holder has the policies that the asker knows
	Holder  *access.Holder `json:",omitempty"`
}

// The bounds of a question.
const (
	maxAsked = 256 // tokens
	// maxFound is how many rules an answer has, at which it ends.
	maxFound = 5000
	// MaxQuestion is the size of the largest question, in bytes.
	MaxQuestion = 1 << 20
)

// Holders knows the holders of tokens.
type Holders interface {
	// Ready returns an error while the holders are not known: all tokens would be refused.
	Ready() error
	// Index is the index of the last change that the holders depend on.
	Index() uint64
	Defaults() rules.Defaults
	Hides() bool
	// Holder returns the holder of a secret in a datacenter; an empty one is that of this server. An error of kind
	// Denied means that there is none.
	Holder(secret, datacenter string) (*access.Holder, error)
}

// Resolve answers a question at a server.
func Resolve(s Holders, q Question) (Answer, error) {
	if len(q.Tokens) > maxAsked {
		return Answer{}, skerry.Errorf(skerry.Invalid, "Tokens: %d are too many, at most %d are answered at once", len(q.Tokens), maxAsked)
	}
	if err := s.Ready(); err != nil {
		return Answer{}, err
	}
	a := Answer{Index: s.Index(), Defaults: s.Defaults(), Hides: s.Hides()} // the index first: a change after it is asked for again
	count := 0
	for _, t := range q.Tokens {
		h, err := s.Holder(t.Secret, q.Datacenter)
		switch {
		case err != nil && skerry.KindOf(err) == skerry.Denied:
			a.Found = append(a.Found, Found{Refused: err.Error()})
		case err != nil:
			return Answer{}, err // a damaged record: another server may have a sound one
		case h.Key == t.Key:
			a.Found = append(a.Found, Found{Same: true})
		default:
			for _, p := range h.Policies {
				count += len(p.Rules)
			}
			if count > maxFound && len(a.Found) > 0 {
				return a, nil
			}
			a.Found = append(a.Found, Found{Holder: h})
		}
	}
	return a, nil
}

// Asker has a server answer a question. It returns an error if none does.
type Asker func(context.Context, Question) (Answer, error)
