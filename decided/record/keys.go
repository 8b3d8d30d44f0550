// Package record names the keys of the quorum store and decodes the records that more
// than one package reads. The names and the encodings must stay as they are: a store
// outlives the release that wrote it, and servers of two releases may share it.
package record

import (
	"strings"

	"github.com/skerryhq/skerry"
)

// The prefixes of keys of key/value entries, sessions and locks.
const (
	Entries  = "kv/"      // kv/<key>: an entry
	Sessions = "session/" // session/<session>
	Alive    = "alive/"   // alive/<session>: its sign of life if it has a TTL, bound to its lease
	Held     = "held/"    // held/<session>/<key>: a lock of the session
	Delays   = "delay/"   // delay/<key>: the lock-delay of the key
	Bound    = "bound/"   // bound/<node>/<session>: a session of the node
)

// Decider is the key of the server that decides.
const Decider = "leader"

// The prefixes of keys of prepared queries: the definitions, and the keys that find
// them. A name and a template's prefix are in lower case and lead to the query's ID.
const (
	Queries        = "query/"         // query/<query>
	QueryNames     = "queryname/"     // queryname/<name> → the query
	QueryTemplates = "querytemplate/" // querytemplate/<prefix> → the query
	QuerySessions  = "querysession/"  // querysession/<session>/<query>: a query bound to the session
)

// The prefixes of keys of external records: one key for each node, service and check,
// so that the cost of a write does not depend on how many there are. Node names are
// in lower case, and escaped as [NodeKey] does it.
const (
	External         = "ext/"         // all of them
	ExternalNodes    = "ext/node/"    // ext/node/<node>
	ExternalServices = "ext/service/" // ext/service/<node>/<service ID>
	ExternalChecks   = "ext/check/"   // ext/check/<node>/<check ID>
	ExternalIDs      = "ext/id/"      // ext/id/<node ID> → the node that has it
	ExternalJudges   = "ext/judge/"   // ext/judge/<node>/<service ID>/<check ID>: a check of the service
)

// The keys of user events and of network coordinates.
const (
	Events      = "event/"     // event/<number in 20 digits>
	EventClock  = "eventclock" // the number of the last event
	Coordinates = "coord/"     // coord/<node in lower case>
)

// Autopilot is the key of how the servers look after each other.
const Autopilot = "autopilot"

// The prefixes of keys of the processes that may be in the cluster. Names of nodes are escaped as [NodeKey] does it.
const (
	JoinTokens = "join/"      // join/<token>
	NodeKeys   = "nodekey/"   // nodekey/<node>: the key that its certificate is for
	Revoked    = "revoked/"   // revoked/<print of a key>
	Authority  = "authority/" // authority/rotation; authority/member/<node>: the authorities that its member of the quorum store trusts
)

var (
	escaper   = strings.NewReplacer("%", "%25", "/", "%2F")
	unescaper = strings.NewReplacer("%25", "%", "%2F", "/")
)

func escape(s string) string {
	if strings.ContainsAny(s, "%/") {
		return escaper.Replace(s)
	}
	return s
}

// NodeKey returns a node's part of its keys: its name in lower case, with "/" and "%"
// escaped.
func NodeKey(name string) string { return escape(skerry.Fold(name)) }

// NodeName returns the folded name whose NodeKey is key.
func NodeName(key string) string { return unescaper.Replace(key) }

// JudgeKey returns the key that makes a check one of a service. node is a NodeKey.
func JudgeKey(node, service, check string) string {
	return ExternalJudges + node + "/" + escape(service) + "/" + check
}

// HeldKey returns the key that makes a session the holder of a lock.
func HeldKey(session, key string) string { return Held + session + "/" + key }

// BoundKey returns the key by which a session is found from its node.
func BoundKey(s *skerry.Session) string { return Bound + NodeKey(s.Node) + "/" + s.ID }
