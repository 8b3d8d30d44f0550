package join

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/pki"
)

// Entry is what servers keep of a token.
type Entry struct {
	Kind    pki.Kind          `json:"kind"`
	Public  ed25519.PublicKey `json:"public"`
	Made    time.Time         `json:"made"`
	Expires time.Time         `json:"expires"`
	// Uses is the number of processes that may join still.
	Uses int `json:"uses"`
	// Node is the only node that may join; empty: any. That node may also replace its own key.
	Node string `json:"node,omitempty"`
	// Datacenter is that of the servers which may join with it; empty: this one.
	Datacenter string `json:"datacenter,omitempty"`
}

// EntryOf returns the entry of a new token.
func EntryOf(t *Token, made time.Time, uses int, node string) Entry {
	return Entry{Kind: t.Kind, Public: t.Public(), Made: made.UTC().Truncate(time.Second), Expires: t.Expires.UTC(), Uses: uses, Node: node}
}

// Book keeps tokens, and the keys of the nodes that joined.
type Book interface {
	// Change reads the entry of a token and the key of a node, and writes them back as change leaves them, in one
	// transaction. Each is nil if there is none. A key that is replaced by another one is revoked. The error of change is
	// returned, and nothing is written then. change may be called again if others write meanwhile.
	Change(ctx context.Context, id ID, node string, change func(e *Entry, k *NodeKey) (*Entry, *NodeKey, error)) error
}

// NodeKey is the key that a node joined with.
type NodeKey struct {
	Node  string   `json:"node"`
	Kind  pki.Kind `json:"kind"`
	Print Print    `json:"key"`
	Token string   `json:"token,omitempty"` // the ID of the one that it joined with
	// Authority has signed its certificate, as far as a rotation asked for it.
	Authority pki.Pin `json:"authority,omitzero"`
}

// Print is the SHA-256 of a public key, in DER.
type Print [sha256.Size]byte

// MarshalText implements [encoding.TextMarshaler].
func (p Print) MarshalText() ([]byte, error) { return pki.Pin(p).MarshalText() }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (p *Print) UnmarshalText(text []byte) error { return (*pki.Pin)(p).UnmarshalText(text) }

// PrintOf returns the print of a public key.
func PrintOf(public any) (Print, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	return sha256.Sum256(der), err
}

// refusal is why a token is refused: it is logged, and the process is told errRefused alone.
type refusal string

func (r refusal) Error() string { return string(r) }

// errRefused is the answer to every token that is refused: it tells a stranger nothing about tokens.
var errRefused = skerry.Errorf(skerry.Denied, "the join token is refused: it is wrong, used up, expired, revoked or for another node or kind of process; make one with `skerry token create`, and see the server's log")

// Admit takes a use off a token for the process on this machine, which has the token and the book.
func Admit(ctx context.Context, b Book, t *Token, node string, key any, now time.Time) error {
	print, err := PrintOf(key)
	if err != nil {
		return err
	}
	a := &ask{id: t.ID, node: node, named: node, print: print, lives: func() bool { return false }, proved: func(public ed25519.PublicKey) bool { return public.Equal(t.Public()) }}
	err = b.Change(ctx, t.ID, node, func(e *Entry, k *NodeKey) (*Entry, *NodeKey, error) { return use(e, k, now, a) })
	if why, ok := errors.AsType[refusal](err); ok {
		return skerry.Errorf(skerry.Denied, "the join token is refused: %s", why)
	}
	return err
}

func kindOfDatacenter(name string) string {
	if name == "" {
		return "this datacenter"
	}
	return "the datacenter " + name
}

// use decides on a process that asks, and takes one use off the token of an entry. A process that asks again with the same
// key takes none: its server died before the answer.
func use(e *Entry, k *NodeKey, now time.Time, a *ask) (*Entry, *NodeKey, error) {
	again := k != nil && k.Print == a.print && k.Token == a.id.String()
	switch {
	case e == nil:
		return nil, nil, refusal("it is not known: it was revoked, has expired, or is another cluster's")
	case !a.proved(e.Public):
		return nil, nil, refusal("its proof is wrong")
	case !now.Before(e.Expires):
		return nil, nil, refusal("it has expired")
	case e.Datacenter != a.datacenter:
		return nil, nil, refusal("it is for " + kindOfDatacenter(e.Datacenter) + ", and the process is of " + kindOfDatacenter(a.datacenter))
	case e.Node != "" && e.Node != a.named:
		return nil, nil, refusal("it is for the node " + e.Node)
	case again:
		return e, k, nil
	case e.Uses <= 0:
		return nil, nil, refusal("it was used up")
	case k != nil && k.Print != a.print && e.Node == "" && a.lives():
		return nil, nil, refusal("a process with another key has the node name, and is there: give this one another name, or make a token for the node with -node")
	}
	left := *e
	left.Uses--
	return &left, &NodeKey{Node: a.node, Kind: e.Kind, Print: a.print, Token: a.id.String()}, nil
}
