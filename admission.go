package skerry

import (
	"context"
	"time"
)

// JoinToken lets processes join the cluster.
type JoinToken struct {
	ID   string
	Kind string // of the processes: "server" or "agent"
	Uses int    // processes that may join still
	Node string // the only one that may join; empty: any
	// Datacenter is that of the servers that may join; empty: this one.
	Datacenter string
	Made       time.Time
	// Expires is when it is refused, in whole seconds.
	Expires time.Time
	// Secret is the token as a process gets it. It is known only when the token is made.
	Secret string
}

// JoinedNode is a node that joined with a token.
type JoinedNode struct {
	Name  string
	Kind  string
	Token string // its ID
}

// Authority is the authority that signs the certificates of the processes of a cluster. Authorities are named by their pins,
// the SHA-256 of their certificates in hexadecimal digits.
type Authority struct {
	Pin     string
	Expires time.Time
	// Before is the one that it takes the place of, while both are trusted: in a rotation, which began at Began. Empty: there
	// is no rotation.
	Before string
	Began  time.Time
	// Waiting are the nodes whose certificates may still be of the one before.
	Waiting []string
	// Restart are the servers whose members of the quorum store trust an earlier authority until they are restarted.
	Restart []string
	// Moving means that the server takes plain connections too, while the cluster is moved to TLS. Plain are the nodes that are without
	// TLS, as it sees them: when there are none all processes can be restarted without plain connections.
	Moving bool
	Plain  []string
}

// Admission decides which processes may be in the cluster. Errors are of kind [NotFound] for a token or node that there is
// not, and [Unavailable] while the quorum store has no majority.
type Admission interface {
	JoinTokens(ctx context.Context) ([]JoinToken, error)
	// MakeJoinToken makes a token of a kind, with its uses, node and end. The answer has ID, Made and Secret too.
	MakeJoinToken(ctx context.Context, t JoinToken) (JoinToken, error)
	// RevokeJoinToken removes a token. With nodes, the nodes that joined with it are revoked too, and returned.
	RevokeJoinToken(ctx context.Context, id string, nodes bool) (revoked []string, err error)
	JoinedNodes(ctx context.Context) ([]JoinedNode, error)
	// RevokeNode closes the connections of a node, takes its services out of the catalog, and refuses its key from now on.
	RevokeNode(ctx context.Context, name string) error
	Authority(ctx context.Context) (Authority, error)
	// RotateAuthority makes another authority, which signs from now on. The one before is trusted too until FinishRotation. The
	// error is of kind [Conflict] if there is a rotation already, or servers are to be restarted first.
	RotateAuthority(ctx context.Context) (Authority, error)
	// FinishRotation takes the trust from the authority before. The error is of kind [Conflict] if there is no rotation, or
	// nodes are waiting; force puts these out of the cluster.
	FinishRotation(ctx context.Context, force bool) (Authority, error)
}
