package cluster

import "fmt"

// Grants are the tokens by which a server judges what an owner shows. They are no part of a record: no other server gets
// them.
type Grants struct {
	Node    string // may write the owner's node
	Default string // of instances that are not in Instances
	// Instances has the tokens by which instances were registered, by their IDs.
	Instances map[string]string
}

// String describes the grants without a secret.
func (g *Grants) String() string {
	if g == nil {
		return "no grants"
	}
	return fmt.Sprintf("grants of %d instances", len(g.Instances))
}

// Refusal names a service that a server leaves out of an owner's set.
type Refusal struct{ Service, Why string }
