package consul

import (
	"net/http"

	"github.com/skerryhq/skerry"
)

var (
	get    = []string{http.MethodGet}
	put    = []string{http.MethodPut}
	getPut = []string{http.MethodGet, http.MethodPut}
)

// ownNode returns the name of this node, for permissions on its agent.
func ownNode(q *request) string {
	return q.f.b.Self.Name
}

var (
	agentReads    = need{skerry.ResourceAgent, skerry.AccessRead, skerry.AccessRead, ownNode}
	agentWrites   = need{skerry.ResourceAgent, skerry.AccessWrite, skerry.AccessWrite, ownNode}
	peeringReads  = need{skerry.ResourcePeering, skerry.AccessRead, skerry.AccessWrite, nil}
	operatorReads = need{skerry.ResourceOperator, skerry.AccessRead, skerry.AccessWrite, nil}
	aclReads      = need{skerry.ResourceACL, skerry.AccessRead, skerry.AccessWrite, nil}
)

// routes is the table of all endpoints, in the order of Consul's documentation.
var routes = []route{
	{path: "/v1/agent/self", methods: get, do: (*request).agentSelf, need: agentReads},
	{path: "/v1/agent/host", methods: get, do: (*request).agentHost, need: operatorReads},
	{path: "/v1/agent/version", methods: get, do: (*request).agentVersion},
	{path: "/v1/agent/members", methods: get, do: (*request).agentMembers},
	{path: "/v1/agent/metrics", methods: get, do: (*request).agentMetrics, need: agentReads},
	{path: "/v1/agent/metrics/stream", methods: get, do: (*request).agentMetricsStream, need: agentReads},
	{path: "/v1/agent/monitor", methods: get, do: (*request).agentMonitor, need: agentReads},
	{path: "/v1/agent/reload", methods: put, do: (*request).agentReload, need: agentWrites},
	{path: "/v1/agent/leave", methods: put, do: (*request).agentLeave, need: agentWrites},
	{path: "/v1/agent/join/", methods: put, do: (*request).agentJoin, kind: polite, legacyGet: true, need: agentWrites},
	{path: "/v1/agent/force-leave/", methods: put, do: (*request).agentForceLeave, legacyGet: true, need: operatorReads},
	{path: "/v1/agent/maintenance", methods: put, do: (*request).agentMaintenance, need: need{skerry.ResourceNode, skerry.AccessWrite, skerry.AccessWrite, ownNode}},
	{path: "/v1/agent/token/", methods: put, do: acl((*request).agentToken), need: agentWrites},
	{path: "/v1/agent/services", methods: get, do: (*request).agentServices},
	{path: "/v1/agent/service/", methods: get, do: (*request).agentService},
	{path: "/v1/agent/service/register", methods: put, do: (*request).agentServiceRegister},
	{path: "/v1/agent/service/deregister/", methods: put, do: (*request).agentServiceDeregister, legacyGet: true},
	{path: "/v1/agent/service/maintenance/", methods: put, do: (*request).agentServiceMaintenance},
	{path: "/v1/agent/health/service/name/", methods: get, do: (*request).agentHealthByName},
	{path: "/v1/agent/health/service/id/", methods: get, do: (*request).agentHealthByID},
	{path: "/v1/agent/checks", methods: get, do: (*request).agentChecks},
	{path: "/v1/agent/check/register", methods: put, do: (*request).agentCheckRegister},
	{path: "/v1/agent/check/deregister/", methods: put, do: (*request).agentCheckDeregister, legacyGet: true},
	{path: "/v1/agent/check/pass/", methods: put, do: (*request).agentCheckPass, legacyGet: true},
	{path: "/v1/agent/check/warn/", methods: put, do: (*request).agentCheckWarn, legacyGet: true},
	{path: "/v1/agent/check/fail/", methods: put, do: (*request).agentCheckFail, legacyGet: true},
	{path: "/v1/agent/check/update/", methods: put, do: (*request).agentCheckUpdate},

	{path: "/v1/catalog/register", methods: put, do: (*request).catalogRegister, names: true, moves: true, at: byDatacenter, discovery: true},
	{path: "/v1/catalog/deregister", methods: put, do: (*request).catalogDeregister, names: true, moves: true, at: byDatacenter, discovery: true},
	{path: "/v1/catalog/datacenters", methods: get, do: (*request).catalogDatacenters, at: byServer, discovery: true},
	{path: "/v1/catalog/nodes", methods: get, do: (*request).catalogNodes, metaOnError: true, at: byDatacenter, discovery: true},
	{path: "/v1/catalog/services", methods: get, do: (*request).catalogServices, metaOnError: true, at: byDatacenter, discovery: true},
	{path: "/v1/catalog/service/", methods: get, do: (*request).catalogService, metaOnError: true, at: byFollower, discovery: true},
	{path: "/v1/catalog/connect/", methods: get, do: (*request).emptyList, kind: polite, at: byDatacenter, discovery: true},
	{path: "/v1/catalog/gateway-services/", methods: get, do: (*request).emptyList, kind: polite, at: byDatacenter, discovery: true},
	{path: "/v1/catalog/node/", methods: get, do: (*request).catalogNode, metaOnError: true, at: byDatacenter, discovery: true},
	{path: "/v1/catalog/node-services/", methods: get, do: (*request).catalogNodeServices, metaOnError: true, at: byDatacenter, discovery: true},

	{path: "/v1/health/node/", methods: get, do: (*request).healthNode, metaOnError: true, at: byDatacenter, discovery: true},
	{path: "/v1/health/checks/", methods: get, do: (*request).healthChecks, metaOnError: true, at: byFollower, discovery: true},
	{path: "/v1/health/state/", methods: get, do: (*request).healthState, metaOnError: true, at: byDatacenter, discovery: true},
	{path: "/v1/health/service/", methods: get, do: (*request).healthService, lean: true, at: byFollower, discovery: true},
	{path: "/v1/health/connect/", methods: get, do: (*request).emptyList, kind: polite, at: byDatacenter, discovery: true},
	{path: "/v1/health/ingress/", methods: get, do: (*request).emptyList, kind: polite, at: byDatacenter, discovery: true},

	{path: "/v1/status/leader", methods: get, do: (*request).statusLeader, at: byDatacenter, open: true},
	{path: "/v1/status/peers", methods: get, do: (*request).statusPeers, at: byDatacenter, open: true},
	{path: "/v1/status/ready", methods: get, do: (*request).statusReady, kind: own, open: true},

	{path: "/v1/event/fire/", methods: put, do: (*request).eventFire, at: byDatacenter},
	{path: "/v1/event/list", methods: get, do: (*request).eventList, at: byServer},
	{path: "/v1/coordinate/datacenters", methods: get, do: (*request).coordinateDatacenters, at: byServer},
	{path: "/v1/coordinate/nodes", methods: get, do: (*request).coordinateNodes, plain: true, at: byDatacenter},
	{path: "/v1/coordinate/node/", methods: get, do: (*request).coordinateNode, plain: true, metaOnError: true, at: byDatacenter},
	{path: "/v1/coordinate/update", methods: put, do: (*request).coordinateUpdate, names: true, at: byDatacenter},

	{path: "/v1/internal/ui/services", methods: get, do: (*request).uiServices, plain: true, at: byDatacenter},
	{path: "/v1/internal/ui/nodes", methods: get, do: (*request).uiNodes, plain: true, at: byDatacenter},
	{path: "/v1/internal/ui/node/", methods: get, do: (*request).uiNode, plain: true, at: byDatacenter},
	{path: "/v1/operator/raft/configuration", methods: get, do: (*request).raftConfiguration, at: byDatacenter, need: operatorReads},
	{path: "/v1/operator/raft/peer", methods: []string{"DELETE"}, do: (*request).raftPeer, single: true, at: byDatacenter, need: operatorReads},
	{path: "/v1/operator/raft/transfer-leader", methods: []string{"PUT", "POST"}, do: (*request).transferLeader, single: true, at: byDatacenter, need: operatorReads},
	{path: "/v1/operator/autopilot/configuration", methods: getPut, do: (*request).autopilotConfiguration, at: byDatacenter, need: operatorReads},
	{path: "/v1/operator/autopilot/state", methods: get, do: (*request).autopilotState, at: byDatacenter, need: operatorReads},
	{path: "/v1/operator/autopilot/health", methods: get, do: (*request).autopilotHealth, at: byDatacenter, need: operatorReads},
	{path: "/v1/operator/keyring", methods: []string{"GET", "POST", "PUT", "DELETE"}, do: (*request).keyring, kind: polite, at: byDatacenter, need: need{skerry.ResourceKeyring, skerry.AccessRead, skerry.AccessWrite, nil}},
	{path: "/v1/operator/usage", methods: get, do: (*request).usage, kind: polite, at: byDatacenter, need: operatorReads},
	{path: "/v1/connect/ca/roots", methods: get, do: (*request).caRoots, plain: true, kind: polite, at: byDatacenter},
	{path: "/v1/agent/connect/ca/roots", methods: get, do: (*request).caRoots, plain: true, kind: polite},
	{path: "/v1/config", methods: put, do: (*request).configApply, kind: polite, at: byDatacenter, need: operatorReads},
	{path: "/v1/config/", methods: []string{"GET", "DELETE"}, do: (*request).configEntry, plain: true, kind: polite, at: byDatacenter},
	{path: "/v1/peerings", methods: get, do: (*request).peerings, plain: true, kind: polite, at: byDatacenter, need: peeringReads},
	{path: "/v1/peering/", methods: []string{"GET", "DELETE"}, do: (*request).peering, plain: true, kind: polite, at: byDatacenter, need: peeringReads},
	{path: "/v1/peering/token", methods: []string{"POST"}, do: (*request).peeringMade, kind: polite, at: byDatacenter, need: peeringReads},
	{path: "/v1/peering/establish", methods: []string{"POST"}, do: (*request).peeringMade, kind: polite, at: byDatacenter, need: peeringReads},

	{path: "/v1/kv/", methods: []string{"GET", "PUT", "DELETE"}, do: (*request).kv, plain: true, at: byDatacenter},
	{path: "/v1/txn", methods: put, do: (*request).txn, lists: true, moves: true, at: byDatacenter},
	{path: "/v1/session/create", methods: put, do: (*request).sessionCreate, at: byDatacenter},
	{path: "/v1/session/destroy/", methods: put, do: (*request).sessionDestroy, at: byDatacenter},
	{path: "/v1/session/renew/", methods: put, do: (*request).sessionRenew, at: byDatacenter},
	{path: "/v1/session/info/", methods: get, do: (*request).sessionInfo, plain: true, metaOnError: true, at: byDatacenter},
	{path: "/v1/session/node/", methods: get, do: (*request).sessionNode, plain: true, metaOnError: true, at: byDatacenter},
	{path: "/v1/session/list", methods: get, do: (*request).sessionList, plain: true, metaOnError: true, at: byDatacenter},
	{path: "/v1/query", methods: []string{"GET", "POST"}, do: (*request).queryAll, metaOnError: true, at: byDatacenter},
	{path: "/v1/query/", methods: []string{"GET", "PUT", "DELETE"}, do: (*request).queryOne, metaOnError: true, anyMethod: true, at: byDatacenter},
	{path: "/v1/snapshot", methods: getPut, do: (*request).snapshot, largeBody: true, single: true, moves: true, at: byDatacenter, need: need{skerry.ResourceACL, skerry.AccessWrite, skerry.AccessWrite, nil}},
	{path: "/v1/acl/bootstrap", methods: put, do: acl((*request).aclBootstrap), at: byDatacenter, open: true},
	{path: "/v1/acl/replication", methods: get, do: acl((*request).aclReplication), at: byDatacenter},
	{path: "/v1/acl/login", methods: []string{"POST"}, do: withTokens((*request).aclLogin), at: byDatacenter, open: true},
	{path: "/v1/acl/logout", methods: []string{"POST"}, do: withTokens((*request).aclLogout), at: byDatacenter, open: true},
	{path: "/v1/acl/tokens", methods: get, do: acl((*request).aclTokens), plain: true, metaOnError: true, at: byDatacenter, decided: (*request).aclNotCopied, need: aclReads},
	{path: "/v1/acl/token", methods: put, do: acl((*request).aclTokenCreate), lists: true, at: byDatacenter, decided: (*request).aclMakesGlobal, need: aclReads},
	{path: "/v1/acl/token/self", methods: get, do: acl((*request).aclTokenSelf), plain: true, metaOnError: true, at: byDatacenter, decided: (*request).aclSelfNotHere, open: true},
	{path: "/v1/acl/token/", methods: []string{"GET", "PUT", "DELETE"}, do: acl((*request).aclToken), plain: true, metaOnError: true, lists: true, at: byDatacenter, decided: (*request).aclNotLocal, need: aclReads},
	{path: "/v1/acl/policies", methods: get, do: acl((*request).aclPolicies), plain: true, metaOnError: true, at: byDatacenter, need: aclReads},
	{path: "/v1/acl/policy", methods: put, do: acl((*request).aclPolicyCreate), lists: true, at: byDatacenter, decided: (*request).aclChanges, need: aclReads},
	{path: "/v1/acl/policy/name/", methods: get, do: acl((*request).aclPolicyByName), plain: true, metaOnError: true, at: byDatacenter, need: aclReads},
	{path: "/v1/acl/policy/", methods: []string{"GET", "PUT", "DELETE"}, do: acl((*request).aclPolicy), plain: true, metaOnError: true, lists: true, at: byDatacenter, decided: (*request).aclChanges, need: aclReads},
	{path: "/v1/acl/roles", methods: get, do: acl((*request).aclRoles), plain: true, metaOnError: true, at: byDatacenter, need: aclReads},
	{path: "/v1/acl/role", methods: put, do: acl((*request).aclRoleCreate), lists: true, at: byDatacenter, decided: (*request).aclChanges, need: aclReads},
	{path: "/v1/acl/role/name/", methods: get, do: acl((*request).aclRoleByName), plain: true, metaOnError: true, at: byDatacenter, need: aclReads},
	{path: "/v1/acl/role/", methods: []string{"GET", "PUT", "DELETE"}, do: acl((*request).aclRole), plain: true, metaOnError: true, lists: true, at: byDatacenter, decided: (*request).aclChanges, need: aclReads},
	{path: "/v1/acl/auth-methods", methods: get, do: withTokens((*request).aclMethods), plain: true, metaOnError: true, at: byDatacenter, need: aclReads},
	{path: "/v1/acl/auth-method", methods: put, do: withTokens((*request).aclMethodCreate), at: byDatacenter, need: aclReads},
	{path: "/v1/acl/auth-method/", methods: []string{"GET", "PUT", "DELETE"}, do: withTokens((*request).aclMethod), plain: true, metaOnError: true, at: byDatacenter, need: aclReads},
	{path: "/v1/acl/binding-rules", methods: get, do: withTokens((*request).aclBindings), plain: true, metaOnError: true, at: byDatacenter, need: aclReads},
	{path: "/v1/acl/binding-rule", methods: put, do: withTokens((*request).aclBindingCreate), at: byDatacenter, need: aclReads},
	{path: "/v1/acl/binding-rule/", methods: []string{"GET", "PUT", "DELETE"}, do: withTokens((*request).aclBinding), plain: true, metaOnError: true, at: byDatacenter, need: aclReads},
	{path: "/v1/acl/templated-policies", methods: get, do: acl((*request).aclTemplates), at: byDatacenter, need: aclReads},
	{path: "/v1/acl/templated-policy/name/", methods: get, do: acl((*request).aclTemplate), at: byDatacenter, need: aclReads},
	{path: "/v1/acl/templated-policy/preview/", methods: []string{"POST"}, do: acl((*request).aclTemplatePreview), at: byDatacenter, need: need{skerry.ResourceACL, skerry.AccessRead, skerry.AccessRead, nil}},
	{path: "/v1/acl/list", methods: get, do: (*request).aclRemoved, kind: gone, exactly: true},
	{path: "/v1/acl/create", methods: put, do: (*request).aclRemoved, kind: gone, exactly: true},
	{path: "/v1/acl/update", methods: put, do: (*request).aclRemoved, kind: gone, exactly: true},
	{path: "/v1/acl/destroy/", methods: put, do: (*request).aclRemoved, kind: gone, exactly: true},
	{path: "/v1/acl/info/", methods: get, do: (*request).aclRemoved, kind: gone, exactly: true},
	{path: "/v1/acl/clone/", methods: put, do: (*request).aclRemoved, kind: gone, exactly: true},
	{path: "/v1/acl/rules/translate", methods: []string{"POST"}, do: (*request).aclRemoved, kind: gone, exactly: true},
	{path: "/v1/acl/rules/translate/", methods: get, do: (*request).aclRemoved, kind: gone, exactly: true},
	{path: "/v1/internal/acl/authorize", methods: []string{"POST"}, do: acl((*request).aclAuthorize), lists: true, at: byDatacenter},

	{path: "/v1/skerry/set", methods: put, do: (*request).skerrySet, kind: own, lists: true},
	{path: "/v1/skerry/owner/", methods: []string{"PUT", "DELETE"}, do: (*request).skerryOwner, kind: own, lists: true, moves: true, at: byServer},
	{path: "/v1/skerry/follow", methods: get, do: (*request).skerryFollow, kind: own, discovery: true},
	{path: "/v1/skerry/follow/ack", methods: put, do: (*request).skerryAck, kind: own, open: true},
	{path: "/v1/skerry/explain/", methods: get, do: (*request).skerryExplain, kind: own, at: byDatacenter},
	{path: "/v1/skerry/propagation", methods: get, do: (*request).skerryPropagation, kind: own, need: agentReads},
	{path: "/v1/skerry/join-tokens", methods: get, do: (*request).skerryJoinTokens, kind: own, at: byDatacenter, need: aclReads},
	{path: "/v1/skerry/join-token", methods: put, do: (*request).skerryJoinTokenMake, kind: own, single: true, at: byDatacenter, need: aclReads},
	{path: "/v1/skerry/join-token/", methods: []string{"DELETE"}, do: (*request).skerryJoinTokenRevoke, kind: own, single: true, moves: true, at: byDatacenter, need: aclReads},
	{path: "/v1/skerry/joined", methods: get, do: (*request).skerryJoined, kind: own, at: byDatacenter, need: aclReads},
	{path: "/v1/skerry/joined/", methods: []string{"DELETE"}, do: (*request).skerryNodeRevoke, kind: own, single: true, moves: true, at: byDatacenter, need: aclReads},
	{path: "/v1/skerry/authority", methods: get, do: (*request).skerryAuthority, kind: own, at: byDatacenter, need: aclReads},
	{path: "/v1/skerry/authority/rotate", methods: put, do: (*request).skerryRotate, kind: own, single: true, moves: true, at: byDatacenter, need: aclReads},
	{path: "/v1/skerry/authority/finish", methods: put, do: (*request).skerryRotateFinish, kind: own, single: true, moves: true, at: byDatacenter, need: aclReads},
	{path: "/v1/skerry/guard", methods: get, do: (*request).skerryGuard, kind: own, at: byDatacenter, need: operatorReads},
	{path: "/v1/skerry/guard/release", methods: put, do: (*request).skerryGuardRelease, kind: own, single: true, moves: true, at: byDatacenter, need: operatorReads},
}
