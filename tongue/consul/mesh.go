package consul

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
)

// Configuration entries and peerings belong to Consul's mesh. There is none here, so the
// lists are empty and writes are refused.

// entryKinds are the kinds of configuration entries that Consul 1.22 knows.
var entryKinds = []string{
	"api-gateway", "bound-api-gateway", "control-plane-request-limit", "exported-services", "file-system-certificate", "http-route",
	"ingress-gateway", "inline-certificate", "jwt-provider", "mesh", "proxy-defaults", "sameness-group", "service-defaults",
	"service-intentions", "service-resolver", "service-router", "service-splitter", "tcp-route", "terminating-gateway",
}

func unknownKind(kind string) string { return "invalid config entry kind: " + kind }

// configEntry serves /v1/config/KIND and /v1/config/KIND/NAME.
func (q *request) configEntry() error {
	kind, name, _ := strings.Cut(q.rest, "/")
	known := slices.Contains(entryKinds, kind)
	switch {
	case q.r.Method == http.MethodDelete && (kind == "" || name == ""):
		return notFoundError("Must provide both a kind and name to delete")
	case q.r.Method == http.MethodDelete && !known:
		return badRequest(unknownKind(kind))
	case q.r.Method == http.MethodDelete:
		return q.json(struct{}{}) // as for one that does not exist
	case kind != "" && !known:
		return serverError(unknownKind(kind))
	case name != "":
		return notFoundError("Config entry not found for \"" + kind + "\" / \"" + name + "\"")
	}
	q.meta(1)
	return q.json([]struct{}{})
}

// configApply checks an entry as Consul does, and then refuses it.
func (q *request) configApply() error {
	d, err := q.jsonBody()
	if err != nil {
		return err
	}
	var body map[string]json.RawMessage
	if err := d.Decode(&body); errors.Is(err, io.EOF) {
		return badRequest("Request decoding failed: EOF")
	} else if err != nil {
		return badRequest("Request decoding failed: " + err.Error())
	}
	var kind string
	raw, ok := body["Kind"]
	if !ok {
		raw, ok = body["kind"]
	}
	if !ok || json.Unmarshal(raw, &kind) != nil {
		return badRequest("Request decoding failed: Payload does not contain a kind/Kind key at the top level")
	}
	if !slices.Contains(entryKinds, kind) {
		return badRequest("Request decoding failed: " + unknownKind(kind))
	}
	return badRequest("Config entries of kind " + kind + " are not kept: they configure the service mesh, which Skerry does not have")
}

func (q *request) peerings() error { return q.json([]struct{}{}) }

// peering serves /v1/peering/NAME.
func (q *request) peering() error {
	switch {
	case q.rest == "":
		return badRequest("Must specify a name to fetch.")
	case q.r.Method == http.MethodDelete:
		q.empty()
		return nil
	}
	return notFoundError("Peering not found for \"" + q.rest + "\"")
}

// peeringMade refuses to make a peering.
func (q *request) peeringMade() error {
	return badRequest("Cluster peering needs the service mesh, which Skerry does not have")
}
