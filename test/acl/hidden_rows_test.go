package acl

// hiddenRow is one endpoint asked about something that its asker may not see. The rows
// are doc/hidden.md, and each is held to: with the hidden thing and without it the
// answers have the same bytes, and waiters are not woken by it.
type hiddenRow struct {
	thing ghost
	ask   ask
	stir  ask    // a change that the asker sees; none: nothing is waited for
	still bool   // it can be waited for, and there is no change that the asker sees
	says  string // what is answered
}

// ghost is something hidden: what makes it, changes it and removes it again.
type ghost struct {
	name               string
	make, change, undo []ask
	id                 string // what the first of make answers that stands for $id
	remains            string // what the manager asks to see that it is still there
}

func by(method, path, body string) ask { return ask{method, "", path, body} }

// The hidden things. The asker's rules are in askerRules.
var (
	hiddenKey = ghost{
		name:   "a key",
		make:   []ask{by(put, "/v1/kv/app/hidden", "1")},
		change: []ask{by(put, "/v1/kv/app/hidden", "2")},
		undo:   []ask{by(remove, "/v1/kv/app/hidden", "")},
	}
	hiddenFolder = ghost{
		name:   "all keys below",
		make:   []ask{by(put, "/v1/kv/app/deep/hidden/a", "1")},
		change: []ask{by(put, "/v1/kv/app/deep/hidden/b", "2")},
		undo:   []ask{by(remove, "/v1/kv/app/deep/hidden/?recurse", "")},
	}
	hiddenService = ghost{
		name: "a service",
		make: []ask{by(put, "/v1/catalog/register", `{"Node":"far","SkipNodeUpdate":true,"Service":{"Service":"ghost","Port":80,"Tags":["pale"]},"Check":{"CheckID":"ghostly","Name":"ghostly","Status":"passing","ServiceID":"ghost"}}`)},
		change: []ask{
			by(put, "/v1/catalog/register", `{"Node":"far","SkipNodeUpdate":true,"Service":{"Service":"ghost","Port":81}}`),
			by(put, "/v1/catalog/register", `{"Node":"far","SkipNodeUpdate":true,"Check":{"CheckID":"ghostly","Name":"ghostly","Status":"critical","ServiceID":"ghost"}}`),
		},
		undo:    []ask{by(put, "/v1/catalog/deregister", `{"Node":"far","ServiceID":"ghost"}`)},
		remains: "/v1/catalog/service/ghost",
	}
	hiddenNode = ghost{
		name: "a node",
		make: []ask{by(put, "/v1/catalog/register", `{"Node":"dark","Address":"10.0.0.9","Service":{"Service":"web","Port":80,"Tags":["pale"]},"Check":{"CheckID":"darkly","Name":"darkly","Status":"passing"}}`)},
		change: []ask{
			by(put, "/v1/catalog/register", `{"Node":"dark","Address":"10.0.0.9","Service":{"Service":"web","Port":81}}`),
			by(put, "/v1/catalog/register", `{"Node":"dark","Address":"10.0.0.9","NodeMeta":{"a":"b"},"Check":{"CheckID":"darkly","Name":"darkly","Status":"critical"}}`),
		},
		undo:    []ask{by(put, "/v1/catalog/deregister", `{"Node":"dark"}`)},
		remains: "/v1/catalog/node-services/dark",
	}
	hiddenLocal = ghost{
		name:    "a service of this agent",
		make:    []ask{by(put, "/v1/agent/service/register", `{"Name":"ghost","Port":1,"Check":{"CheckID":"ghostbeat","TTL":"1h"}}`)},
		undo:    []ask{by(put, "/v1/agent/service/deregister/ghost", "")},
		remains: "/v1/agent/health/service/id/ghost",
	}
	hiddenSession = ghost{
		name: "a session",
		make: []ask{by(put, "/v1/session/create", `{"Node":"haunted","NodeChecks":[]}`)}, id: "ID",
		undo:    []ask{by(put, "/v1/session/destroy/$id", "")},
		remains: "/v1/session/info/$id",
	}
	hiddenQuery = ghost{
		name: "a prepared query",
		make: []ask{by(post, "/v1/query", `{"Name":"spook","Service":{"Service":"web"}}`)}, id: "ID",
		change:  []ask{by(put, "/v1/query/$id", `{"Name":"spook","Service":{"Service":"web","OnlyPassing":true}}`)},
		undo:    []ask{by(remove, "/v1/query/$id", "")},
		remains: "/v1/query/$id",
	}
	hiddenEvent = ghost{
		name: "an event",
		make: []ask{by(put, "/v1/event/fire/whisper", "x")},
	}
	hiddenCoordinate = ghost{
		name:   "a node's coordinate",
		make:   []ask{by(put, "/v1/coordinate/update", `{"Node":"haunted","Coord":{"Vec":[1,0,0,0,0,0,0,0],"Error":0.1,"Adjustment":0,"Height":0.00001}}`)},
		change: []ask{by(put, "/v1/coordinate/update", `{"Node":"haunted","Coord":{"Vec":[2,0,0,0,0,0,0,0],"Error":0.1,"Adjustment":0,"Height":0.00001}}`)},
	}
)

// askerRules are what the asker may do; the node haunted is always there, and hidden.
const askerRules = `
key_prefix "app/" { policy = "write" }
key_prefix "app/hidden" { policy = "deny" }
key_prefix "app/deep/hidden" { policy = "deny" }
service "web" { policy = "read" }
service "mine" { policy = "write" }
node "far" { policy = "read" }
node "n1" { policy = "read" }
session "far" { policy = "write" }
query_prefix "find" { policy = "write" }
event "deploy" { policy = "read" }
`

// The changes that the asker sees. $n is another number each time.
var (
	stirKey        = by(put, "/v1/kv/app/a", "$n")
	stirWeb        = by(put, "/v1/catalog/register", `{"Node":"far","Address":"10.0.0.1","Service":{"Service":"web","Port":$n}}`)
	stirCheck      = by(put, "/v1/catalog/register", `{"Node":"far","Address":"10.0.0.1","Check":{"CheckID":"c","Name":"c$n","Status":"passing","ServiceID":"web"}}`)
	stirNode       = by(put, "/v1/catalog/register", `{"Node":"far","Address":"10.0.0.1","NodeMeta":{"n":"$n"}}`)
	stirNames      = by(put, "/v1/catalog/register", `{"Node":"far","Address":"10.0.0.1","Service":{"ID":"mine","Service":"mine","Port":1,"Tags":["t$n"]}}`)
	stirSession    = by(put, "/v1/session/create", `{"Node":"far","NodeChecks":[]}`)
	stirQuery      = by(post, "/v1/query", `{"Name":"find-$n","Service":{"Service":"web"}}`)
	stirEvent      = by(put, "/v1/event/fire/deploy", "$n")
	stirCoordinate = by(put, "/v1/coordinate/update", `{"Node":"far","Coord":{"Vec":[$n,0,0,0,0,0,0,0],"Error":0.1,"Adjustment":0,"Height":0.00001}}`)
)

const (
	leftOut   = "left out of the list and of its index"
	noSuch    = "as one that is not there"
	byName    = "403, by its name alone"
	unmarked  = "left out"
	stillness = "nothing, and an index that stands still"
)

var hiddenRows = []hiddenRow{
	{hiddenKey, by(get, "/v1/kv/app/?recurse", ""), stirKey, false, leftOut},
	{hiddenKey, by(get, "/v1/kv/app/?keys", ""), stirKey, false, leftOut},
	{hiddenKey, by(get, "/v1/kv/app/?recurse&consistent", ""), stirKey, false, leftOut},
	{hiddenFolder, by(get, "/v1/kv/app/?keys&separator=/", ""), stirKey, false, "a folder is there when a key in it may be seen"},
	{hiddenFolder, by(get, "/v1/kv/app/deep/?keys&separator=/", ""), ask{}, true, "404, and an index that stands still"},
	{hiddenFolder, by(get, "/v1/kv/app/deep/?recurse", ""), ask{}, true, "404, and an index that stands still"},
	{hiddenKey, by(get, "/v1/kv/app/hidden", ""), ask{}, false, byName},
	{hiddenKey, by(get, "/v1/kv/app/hidden?raw", ""), ask{}, false, byName},
	{hiddenKey, by(put, "/v1/kv/app/hidden?cas=0", "x"), ask{}, false, byName},
	{hiddenKey, by(remove, "/v1/kv/app/hidden", ""), ask{}, false, byName},
	{hiddenKey, by(remove, "/v1/kv/app/?recurse", ""), ask{}, false, "403, when any rule forbids a key below the prefix"},
	{hiddenKey, by(put, "/v1/txn", `[{"KV":{"Verb":"get","Key":"app/hidden"}}]`), ask{}, false, noSuch},
	{hiddenKey, by(put, "/v1/txn", `[{"KV":{"Verb":"get-or-empty","Key":"app/hidden"}}]`), ask{}, false, noSuch},
	{hiddenKey, by(put, "/v1/txn", `[{"KV":{"Verb":"get-tree","Key":"app/"}}]`), ask{}, false, "left out, and an index of the visible keys"},
	{hiddenKey, by(put, "/v1/txn", `[{"KV":{"Verb":"check-not-exists","Key":"app/hidden"}}]`), ask{}, false, byName},
	{hiddenKey, by(put, "/v1/txn", `[{"KV":{"Verb":"get","Key":"app/hidden"}},{"KV":{"Verb":"set","Key":"app/never","Value":"MQ=="}}]`), ask{}, false, noSuch},
	{hiddenNode, by(put, "/v1/txn", `[{"Node":{"Verb":"get","Node":{"Node":"dark"}}}]`), ask{}, false, noSuch},
	{hiddenService, by(put, "/v1/txn", `[{"Service":{"Verb":"get","Node":"far","Service":{"ID":"ghost"}}}]`), ask{}, false, noSuch},
	{hiddenNode, by(put, "/v1/txn", `[{"Service":{"Verb":"get","Node":"dark","Service":{"ID":"web"}}}]`), ask{}, false, noSuch},
	{hiddenService, by(put, "/v1/txn", `[{"Check":{"Verb":"get","Check":{"Node":"far","CheckID":"ghostly"}}}]`), ask{}, false, noSuch},
	{hiddenNode, by(put, "/v1/txn", `[{"Check":{"Verb":"get","Check":{"Node":"dark","CheckID":"darkly"}}}]`), ask{}, false, noSuch},

	{hiddenService, by(get, "/v1/health/service/ghost", ""), ask{}, true, "empty, cause `unknown`, and an index that stands still"},
	{hiddenService, by(get, "/v1/health/service/ghost?passing", ""), ask{}, true, "empty, cause `unknown`, and an index that stands still"},
	{hiddenNode, by(get, "/v1/health/service/web", ""), stirWeb, false, leftOut},
	{hiddenNode, by(get, "/v1/health/service/web?tag=pale", ""), stirWeb, false, leftOut},
	{hiddenNode, by(get, "/v1/health/service/web?cached", ""), stirWeb, false, leftOut},
	{hiddenNode, by(get, "/v1/health/checks/web", ""), stirCheck, false, leftOut},
	{hiddenService, by(get, "/v1/health/checks/ghost", ""), ask{}, true, stillness},
	{hiddenService, by(get, "/v1/health/node/far", ""), stirCheck, false, leftOut},
	{hiddenNode, by(get, "/v1/health/node/dark", ""), ask{}, true, stillness},
	{hiddenService, by(get, "/v1/health/state/any", ""), stirCheck, false, leftOut},
	{hiddenNode, by(get, "/v1/health/state/critical", ""), stirCheck, false, leftOut},
	{hiddenService, by(get, "/v1/health/connect/ghost", ""), ask{}, true, stillness},
	{hiddenService, by(get, "/v1/health/ingress/ghost", ""), ask{}, true, stillness},
	{hiddenService, by(get, "/v1/catalog/service/ghost", ""), ask{}, true, "empty, cause `unknown`, and an index that stands still"},
	{hiddenNode, by(get, "/v1/catalog/service/web", ""), stirWeb, false, leftOut},
	{hiddenService, by(get, "/v1/catalog/services", ""), stirNames, false, leftOut},
	{hiddenNode, by(get, "/v1/catalog/services", ""), stirNames, false, "tags of instances that may not be seen are left out"},
	{hiddenNode, by(get, "/v1/catalog/nodes", ""), stirNode, false, leftOut},
	{hiddenService, by(get, "/v1/catalog/node/far", ""), stirWeb, false, leftOut},
	{hiddenNode, by(get, "/v1/catalog/node/dark", ""), ask{}, true, stillness},
	{hiddenService, by(get, "/v1/catalog/node-services/far", ""), stirWeb, false, leftOut},
	{hiddenNode, by(get, "/v1/catalog/node-services/dark", ""), ask{}, true, stillness},
	{hiddenService, by(get, "/v1/catalog/connect/ghost", ""), ask{}, true, stillness},
	{hiddenService, by(get, "/v1/catalog/gateway-services/ghost", ""), ask{}, true, stillness},
	{hiddenNode, by(put, "/v1/catalog/register", `{"Node":"dark","Address":"10.0.0.9","Service":{"Service":"mine","Port":1}}`), ask{}, false, "403: a node that may not be seen may not be written on"},
	{hiddenService, by(put, "/v1/catalog/register", `{"Node":"far","Address":"10.0.0.1","Check":{"CheckID":"new","Name":"new","Status":"passing","ServiceID":"ghost"}}`), ask{}, false, noSuch},
	{hiddenService, by(put, "/v1/catalog/deregister", `{"Node":"far","ServiceID":"ghost"}`), ask{}, false, noSuch},
	{hiddenService, by(put, "/v1/catalog/deregister", `{"Node":"far","CheckID":"ghostly"}`), ask{}, false, noSuch},
	{hiddenNode, by(put, "/v1/catalog/deregister", `{"Node":"dark"}`), ask{}, false, byName},

	{hiddenLocal, by(get, "/v1/agent/services", ""), ask{}, false, unmarked},
	{hiddenLocal, by(get, "/v1/agent/checks", ""), ask{}, false, unmarked},
	{hiddenLocal, by(get, "/v1/agent/service/ghost", ""), ask{}, false, noSuch},
	{hiddenLocal, by(get, "/v1/agent/service/ghost?hash=0&wait=1s", ""), ask{}, false, noSuch},
	{hiddenLocal, by(get, "/v1/agent/health/service/id/ghost", ""), ask{}, false, noSuch},
	{hiddenLocal, by(get, "/v1/agent/health/service/id/ghost?format=text", ""), ask{}, false, noSuch},
	{hiddenLocal, by(get, "/v1/agent/health/service/name/ghost", ""), ask{}, false, byName},
	{hiddenLocal, by(put, "/v1/agent/service/deregister/ghost", ""), ask{}, false, noSuch},
	{hiddenLocal, by(put, "/v1/agent/service/maintenance/ghost?enable=true", ""), ask{}, false, noSuch},
	{hiddenLocal, by(put, "/v1/agent/check/pass/ghostbeat", ""), ask{}, false, noSuch},
	{hiddenLocal, by(put, "/v1/agent/check/warn/ghostbeat", ""), ask{}, false, noSuch},
	{hiddenLocal, by(put, "/v1/agent/check/fail/ghostbeat", ""), ask{}, false, noSuch},
	{hiddenLocal, by(put, "/v1/agent/check/update/ghostbeat", `{"Status":"passing"}`), ask{}, false, noSuch},
	{hiddenLocal, by(put, "/v1/agent/check/deregister/ghostbeat", ""), ask{}, false, noSuch},
	{hiddenLocal, by(put, "/v1/agent/check/register", `{"ID":"new","Name":"new","TTL":"1h","ServiceID":"ghost"}`), ask{}, false, noSuch},
	{hiddenLocal, by(get, "/v1/catalog/node/n1", ""), ask{}, true, leftOut},

	{hiddenSession, by(get, "/v1/session/info/$id", ""), ask{}, true, stillness},
	{hiddenSession, by(get, "/v1/session/list", ""), stirSession, false, leftOut},
	{hiddenSession, by(get, "/v1/session/node/haunted", ""), ask{}, false, unmarked},
	{hiddenSession, by(put, "/v1/session/renew/$id", ""), ask{}, false, noSuch},
	{hiddenSession, by(put, "/v1/session/destroy/$id", ""), ask{}, false, noSuch},
	{hiddenSession, by(put, "/v1/kv/app/lock?acquire=$id", "x"), ask{}, false, noSuch},
	{hiddenSession, by(put, "/v1/kv/app/a?release=$id", "x"), ask{}, false, noSuch},
	{hiddenSession, by(put, "/v1/txn", `[{"KV":{"Verb":"lock","Key":"app/lock","Session":"$id"}}]`), ask{}, false, noSuch},

	{hiddenSession, by(post, "/v1/query", `{"Name":"find-none","Session":"$id","Service":{"Service":"web"}}`), ask{}, false, noSuch},

	{hiddenQuery, by(get, "/v1/query", ""), stirQuery, false, leftOut},
	{hiddenQuery, by(get, "/v1/query/$id", ""), ask{}, false, noSuch},
	{hiddenQuery, by(get, "/v1/query/$id?index=1&wait=1s", ""), ask{}, false, noSuch},
	{hiddenQuery, by(put, "/v1/query/$id", `{"Name":"find-it","Service":{"Service":"web"}}`), ask{}, false, noSuch},
	{hiddenQuery, by(remove, "/v1/query/$id", ""), ask{}, false, noSuch},
	{hiddenQuery, by(get, "/v1/query/spook/execute", ""), ask{}, false, noSuch},
	{hiddenQuery, by(get, "/v1/query/$id/execute", ""), ask{}, false, noSuch},
	{hiddenQuery, by(get, "/v1/query/spook/explain", ""), ask{}, false, noSuch},
	{hiddenQuery, by(get, "/v1/query/$id/explain", ""), ask{}, false, noSuch},
	{hiddenNode, by(get, "/v1/query/find/execute", ""), ask{}, false, unmarked},
	{hiddenNode, by(get, "/v1/query/find/execute?near=dark", ""), ask{}, false, "the nearness of such a node is not known"},
	{hiddenService, by(get, "/v1/query/find-ghost/execute", ""), ask{}, false, "empty, cause `unknown`"},

	{hiddenEvent, by(get, "/v1/event/list", ""), stirEvent, false, leftOut},
	{hiddenEvent, by(get, "/v1/event/list?name=whisper", ""), ask{}, true, stillness},
	{hiddenEvent, by(put, "/v1/event/fire/whisper", "x"), ask{}, false, byName},

	{hiddenCoordinate, by(get, "/v1/coordinate/nodes", ""), stirCoordinate, false, leftOut},
	{hiddenCoordinate, by(get, "/v1/coordinate/node/haunted", ""), ask{}, false, byName},
	{hiddenCoordinate, by(get, "/v1/health/service/web?near=haunted", ""), ask{}, false, "the nearness of such a node is not known"},
	{hiddenCoordinate, by(get, "/v1/catalog/nodes?near=haunted", ""), ask{}, false, "the nearness of such a node is not known"},

	{hiddenService, by(get, "/v1/internal/ui/services", ""), stirWeb, false, leftOut},
	{hiddenNode, by(get, "/v1/internal/ui/services", ""), stirWeb, false, leftOut},
	{hiddenNode, by(get, "/v1/internal/ui/nodes", ""), stirNode, false, leftOut},
	{hiddenService, by(get, "/v1/internal/ui/node/far", ""), stirWeb, false, leftOut},
	{hiddenNode, by(get, "/v1/internal/ui/node/dark", ""), ask{}, true, stillness},
	{hiddenService, by(get, "/v1/skerry/explain/ghost", ""), ask{}, false, "cause `unknown`, and the asker's own rule, there or not"},
	{hiddenNode, by(get, "/v1/skerry/explain/web", ""), ask{}, false, unmarked},
	{hiddenService, by(get, "/v1/agent/members", ""), ask{}, false, unmarked},
}
