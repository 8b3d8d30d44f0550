package config

import (
	"path"
	"reflect"
	"slices"
	"strings"

	"github.com/skerryhq/skerry"
)

// synonyms are other spellings of keys, by the type that has them, in plain form.
var synonyms = map[reflect.Type]map[string]string{
	reflect.TypeFor[Config](): {
		"service": "services", "check": "checks", "recursor": "recursors",
		"startjoin": "retry_join", "startjoinwan": "retry_join_wan",
	},
	reflect.TypeFor[serviceFile]():            {"service": "services", "check": "checks"},
	reflect.TypeFor[service]():                {"service": "name", "servicename": "name", "serviceid": "id", "check": "checks"},
	reflect.TypeFor[skerry.CheckDefinition](): {"checkid": "id", "scriptargs": "args"},
	reflect.TypeFor[Tokens]():                 {"master": "initial_management", "agentmaster": "agent_recovery"},
	reflect.TypeFor[Telemetry]():              {"statsdaddr": "statsd_address", "statsiteaddr": "statsite_address"},
}

// moved are older top-level keys and where they are now. The dots part objects.
var moved = map[string]string{
	"ca_file":                   "tls.defaults.ca_file",
	"ca_path":                   "tls.defaults.ca_path",
	"cert_file":                 "tls.defaults.cert_file",
	"key_file":                  "tls.defaults.key_file",
	"verify_incoming":           "tls.defaults.verify_incoming",
	"verify_incoming_https":     "tls.https.verify_incoming",
	"verify_incoming_rpc":       "tls.internal_rpc.verify_incoming",
	"verify_outgoing":           "tls.defaults.verify_outgoing",
	"verify_server_hostname":    "tls.internal_rpc.verify_server_hostname",
	"tls_min_version":           "tls.defaults.tls_min_version",
	"tls_cipher_suites":         "tls.defaults.tls_cipher_suites",
	"ui":                        "ui_config.enabled",
	"ui_content_path":           "ui_config.content_path",
	"http_api_response_headers": "http_config.response_headers",
	"discovery_max_stale":       "http_config.discovery_max_stale",

	"acl_datacenter":             "primary_datacenter",
	"acl_default_policy":         "acl.default_policy",
	"acl_down_policy":            "acl.down_policy",
	"acl_ttl":                    "acl.token_ttl",
	"acl_token":                  "acl.tokens.default",
	"acl_agent_token":            "acl.tokens.agent",
	"acl_agent_master_token":     "acl.tokens.agent_recovery",
	"acl_master_token":           "acl.tokens.initial_management",
	"acl_replication_token":      "acl.tokens.replication",
	"acl_enable_key_list_policy": "acl.enable_key_list_policy",
	"enable_acl_replication":     "acl.enable_token_replication",
}

// movedTo returns where an older key is now, or "".
func movedTo(key string) string {
	key = plainKey(key)
	for old, to := range moved {
		if plainKey(old) == key {
			return to
		}
	}
	return ""
}

const (
	mesh       = "belongs to Consul's service mesh and has no effect"
	enterprise = "belongs to Consul Enterprise and has no effect"
	engine     = "tunes an engine that Skerry does not have, and has no effect"
	gone       = "was removed from Consul and has no effect"
	unused     = "has no effect"
	gossip     = "has no effect: nothing listens for gossip here"
	reloads    = "has no effect: files are read again on SIGHUP and by \"skerry reload\""
	// tuning keys set the pace of parts that are not here, or are what an agent writes
	// down of itself: their lack has no effect, so there is no warning.
	tuning = ""
)

// laterNote adds to the warning of keys whose lack of effect is a danger.
var laterNote = map[string]string{
	"acl.enabled": ": every request is allowed",
	"encrypt":     ": there is no gossip to encrypt",
	"retry_join":  " with -dev: such a server is alone",
}

// ignored are keys that Consul knows and that do nothing here, by the type that
// has them: patterns of plain keys, and why.
var ignored = map[reflect.Type][][2]string{
	reflect.TypeFor[Config](): {
		{"connect", mesh}, {"peering", mesh}, {"xds", mesh}, {"configentries", mesh}, {"alloweddefaultintentionpolicy", mesh},
		{"defaultintentionpolicy", mesh},
		{"partition", enterprise}, {"segment", enterprise}, {"segments", enterprise}, {"license", enterprise}, {"licensepath", enterprise},
		{"audit", enterprise}, {"sentinel", enterprise}, {"reporting", enterprise}, {"cloud", enterprise}, {"nonvotingserver", enterprise},
		{"readreplica", enterprise}, {"namespace", enterprise},
		{"autoconfig", engine}, {"autoencrypt", engine}, {"gossip*", tuning}, {"raft*", tuning}, {"cache", tuning}, {"rpc", tuning},
		{"encryptverify*", tuning}, {"disablekeyringfile", tuning}, {"disablecoordinates", tuning}, {"protocol", tuning},
		{"serflan", gossip}, {"serfwan", gossip}, {"serflanallowedcidrs", gossip}, {"serfwanallowedcidrs", gossip}, {"syncchange*", tuning}, {"synccoordinate*", tuning},
		{"reconnecttimeoutwan", tuning}, {"usestreamingbackend", tuning},
		{"primarygateways*", mesh}, {"serverrejoinagemax", tuning}, {"experiments", engine}, {"aeinterval", tuning},
		{"disableanonymoussignature", tuning}, {"disablehostnodeid", tuning}, {"version*", tuning}, {"revision", tuning},
		{"builddate", tuning}, {"enableagenttlsforchecks", unused}, {"nodelocalserviceid", unused},
		{"enablecentralserviceconfig", mesh}, {"checkreapinterval", tuning}, {"checkderegisterinterval*", tuning}, {"uidir", unused},
		{"consul", unused}, {"httpsproxy", unused}, {"acl?*", gone}, {"autoreloadconfig", reloads},
		{"advertisereconnecttimeout", tuning}, {"enablexdsloadbalancing", mesh}, {"tlspreferserverciphersuites", gone},
		{"disablehttpunprintablecharfilter", unused}, {"disablekvkeyvalidation", unused},
	},
	reflect.TypeFor[Ports](): {
		{"sidecarminport", mesh}, {"sidecarmaxport", mesh}, {"exposeminport", mesh}, {"exposemaxport", mesh}, {"proxyminport", mesh},
		{"proxymaxport", mesh}, {"rpc", gone},
	},
	reflect.TypeFor[Addresses](): {{"rpc", gone}},
	reflect.TypeFor[DNS]():       {{"prefernamespace", enterprise}},
	reflect.TypeFor[Telemetry](): {
		{"circonus*", unused}, {"disablepertenancyusagemetrics", enterprise}, {"enablehostmetrics", unused}, {"disablecompatoneninetynine", gone},
		{"disablecompat*", unused}, {"retryfailedconnection", unused},
	},
	reflect.TypeFor[UI](): {
		{"metricsprovider*", mesh}, {"metricsproxy", mesh}, {"dashboardurltemplates", unused}, {"dir", unused},
		{"hcpenabled", unused},
	},
	reflect.TypeFor[TLS]():         {{"enableagenttlsforchecks", unused}},
	reflect.TypeFor[TLSListener](): {{"useautocert", unused}},
	reflect.TypeFor[ACL](): {
		{"mspdisablebootstrap", enterprise}, {"tokenttlmin", unused},
	},
	reflect.TypeFor[Tokens]():      {{"managedserviceprovider", enterprise}},
	reflect.TypeFor[Performance](): {{"raftmultiplier", tuning}, {"rpcholdtimeout", tuning}, {"grpckeepalive*", tuning}, {"enablexdsloadbalancing", mesh}},
	reflect.TypeFor[Autopilot](): {
		{"disableupgrademigration", enterprise}, {"redundancyzonetag", enterprise}, {"upgradeversiontag", enterprise},
	},
	reflect.TypeFor[RequestLimits](): {},
	reflect.TypeFor[service](): {
		{"namespace", enterprise}, {"partition", enterprise}, {"peername", mesh}, {"enterprisemeta", enterprise},
	},
	reflect.TypeFor[skerry.CheckDefinition](): {
		{"token", "has no effect yet"}, {"namespace", enterprise}, {"partition", enterprise}, {"proxyhttp", mesh}, {"proxygrpc", mesh},
		{"exposedport", mesh},
	},
}

// ignoredKey returns why a key of a type has no effect; ok is false for an unknown key.
func ignoredKey(t reflect.Type, key string) (why string, ok bool) {
	key = plainKey(key)
	for _, p := range ignored[t] {
		if match, _ := path.Match(p[0], key); match {
			return p[1], true
		}
	}
	return "", false
}

// modernised puts older top-level keys where they are now, before the others,
// so that the newer form wins.
func (d *decoder) modernised(root *value) *value {
	var old, rest []member
	for _, m := range root.members {
		to := movedTo(m.key)
		if to == "" {
			rest = append(rest, m)
			continue
		}
		d.warn(m.key, m.line, "is an older form of "+to)
		parts := strings.Split(to, ".")
		v := m.value
		for _, p := range slices.Backward(parts[1:]) {
			outer := &value{kind: object, line: m.line}
			outer.set(p, m.line, v)
			v = outer
		}
		old = append(old, member{parts[0], m.line, v})
	}
	out := &value{kind: object, line: root.line}
	for _, m := range append(old, rest...) {
		out.set(m.key, m.line, m.value)
	}
	return out
}

// nearest returns the key that is most like the one written, or "" when none is
// like it.
func nearest(key string, keys []string) string {
	best, least := "", max(2, len(key)/3)+1
	for _, k := range keys {
		if n := distance(plainKey(key), plainKey(k)); n < least {
			best, least = k, n
		}
	}
	return best
}

// distance is how many letters must be put in, taken out or changed (Levenshtein).
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return max(len(a), len(b)) // so long a key is not mistyped; the table would be large
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
