package consul

import (
	"io"
	"net/http"

	"github.com/skerryhq/skerry"
)

// jsonHealthCheck is a check as the agent's health endpoints show it: with a
// whole definition, and without tags, type and times.
type jsonHealthCheck struct {
	Node        string
	CheckID     string
	Name        string
	Status      skerry.Health
	Notes       string
	Output      string
	ServiceID   string
	ServiceName string
	ServiceTags []string
	Type        string
	ExposedPort int
	Definition  jsonFullDefinition
	CreateIndex uint64
	ModifyIndex uint64
}

type jsonFullDefinition struct {
	Interval                       string
	Timeout                        string
	DeregisterCriticalServiceAfter string
	HTTP                           string
	Header                         map[string][]string
	Method                         string
	Body                           string
	TLSServerName                  string
	TLSSkipVerify                  bool
	TCP                            string
	TCPUseTLS                      bool
	UDP                            string
	GRPC                           string
	GRPCUseTLS                     bool
	OSService                      string
}

var noDefinition = jsonFullDefinition{Interval: "0s", Timeout: "0s", DeregisterCriticalServiceAfter: "0s"}

type jsonAgentHealth struct {
	AggregatedStatus string
	Service          jsonLocalService
	Checks           []jsonHealthCheck
}

const maintenance = "maintenance"

func (q *request) agentHealthByID() error {
	if q.rest == "" {
		return badRequest("Missing serviceID")
	}
	i, own, node := q.f.b.Local.Instance(q.rest)
	if i == nil || q.unseen(skerry.ResourceService, i.Service) {
		return q.unknownHealth("ServiceId " + q.rest + " not found")
	}
	if err := q.must(skerry.ResourceService, i.Service, skerry.AccessRead); err != nil {
		return err
	}
	h, status := q.health(i, own, node)
	return q.answerHealth(status, h)
}

func (q *request) agentHealthByName() error {
	if q.rest == "" {
		return badRequest("Missing service Name")
	}
	if err := q.must(skerry.ResourceService, q.rest, skerry.AccessRead); err != nil {
		return err
	}
	list := []jsonAgentHealth{}
	worst := ""
	for _, i := range q.localNamed(q.rest) {
		i, own, node := q.f.b.Local.Instance(i.ID)
		if i == nil {
			continue
		}
		h, status := q.health(i, own, node)
		list = append(list, h)
		worst = worse(worst, status)
	}
	if len(list) == 0 {
		return q.unknownHealth("ServiceName " + q.rest + " Not Found")
	}
	return q.answerHealth(worst, list)
}

// localNamed returns the agent's instances of a service in exactly this spelling, as Consul
// does; if there is none, those of any spelling that the caller may read.
func (q *request) localNamed(name string) []*skerry.Instance {
	var exact, others []*skerry.Instance
	for _, i := range q.f.b.Local.Instances() {
		switch {
		case i.Service == name:
			exact = append(exact, i)
		case skerry.SameName(i.Service, name) && q.seesService(i.Service):
			others = append(others, i)
		}
	}
	if len(exact) > 0 {
		return exact
	}
	return others
}

func worse(a, b string) string {
	rank := map[string]int{"": 0, "passing": 1, "warning": 2, "critical": 3, maintenance: 4}
	if rank[b] > rank[a] {
		return b
	}
	return a
}

func (q *request) health(i *skerry.Instance, own, node []*skerry.Check) (jsonAgentHealth, string) {
	h := jsonAgentHealth{Service: q.localService(i), Checks: []jsonHealthCheck{}}
	status := skerry.Passing
	inMaintenance := false
	for _, cs := range [][]*skerry.Check{own, node} {
		for _, c := range cs {
			if c.ServiceID == "" && q.unseen(skerry.ResourceNode, q.f.b.Self.Name) {
				continue
			}
			h.Checks = append(h.Checks, jsonHealthCheck{
				Node: q.f.b.Self.Name, CheckID: c.ID, Name: c.Name, Status: c.Status, Notes: c.Notes, Output: c.Output,
				ServiceID: c.ServiceID, ServiceName: c.ServiceName, Definition: noDefinition,
			})
			status = status.Worse(c.Status)
			inMaintenance = inMaintenance || c.Maintenance()
		}
	}
	h.AggregatedStatus = string(status)
	if inMaintenance {
		h.AggregatedStatus = maintenance
	}
	return h, h.AggregatedStatus
}

var healthStatuses = map[string]int{
	"passing": http.StatusOK, "warning": http.StatusTooManyRequests,
	"critical": http.StatusServiceUnavailable, maintenance: http.StatusServiceUnavailable,
}

func (q *request) answerHealth(status string, v any) error {
	code := healthStatuses[status]
	if code != http.StatusOK {
		q.w.Header().Set("X-Consul-Reason", status)
	}
	if q.textWanted() {
		return q.plainText(code, status)
	}
	return q.jsonStatus(code, v)
}

func (q *request) unknownHealth(text string) error {
	q.w.Header().Set("X-Consul-Reason", "critical")
	if q.textWanted() {
		return q.plainText(http.StatusNotFound, text)
	}
	return q.jsonStatus(http.StatusNotFound, text)
}

func (q *request) textWanted() bool { return q.p.get("format") == "text" }

func (q *request) plainText(status int, text string) error {
	q.w.Header().Set("Content-Type", "text/plain")
	q.w.WriteHeader(status)
	_, err := io.WriteString(q.w, text)
	return err
}
