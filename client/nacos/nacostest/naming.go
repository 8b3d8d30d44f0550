package nacostest

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// service is the unit that Nacos keeps apart.
type service struct{ namespace, group, name string }

func (k service) grouped() string { return k.group + "@@" + k.name }

// clusterName is Nacos's pattern.
var clusterName = regexp.MustCompile(`^[0-9a-zA-Z-]+$`)

// answer answers a request of a connection that is set up. Called with s.mu held.
func (s *Server) answer(c *connection, kind string, r *request, token string) (string, *response) {
	k := service{r.Namespace, r.GroupName, r.ServiceName}
	reply := strings.TrimSuffix(kind, "Request") + "Response"
	if kind == "ServiceQueryRequest" {
		reply = "QueryServiceResponse"
	}
	if kind == "HealthCheckRequest" {
		return reply, ok()
	}
	if s.o.User != "" && !s.tokens[token] {
		message := "token invalid!"
		if token == "" {
			message = "user not found!"
		}
		return reply, failed(codeNoRight, message)
	}
	switch kind {
	case "InstanceRequest", "BatchInstanceRequest":
		if !c.naming() {
			return typeErrorResponse, thrown(codeDisconnected, fmt.Sprintf("Client [%s] connection already disconnect, can't register ephemeral instance.", c.id))
		}
		if refused := s.publish(c, k, r); refused != nil {
			return typeErrorResponse, refused
		}
		out := ok()
		out.Type = r.Type
		return reply, out
	case "SubscribeServiceRequest":
		if !c.naming() {
			return typeErrorResponse, thrown(codeDisconnected, fmt.Sprintf("Client [%s] connection already disconnect, can't register ephemeral instance.", c.id))
		}
		out := ok()
		out.Message, out.ServiceInfo = "success", s.list(k, r.Clusters, false)
		if !r.Subscribe {
			delete(c.subscribed, k)
		} else {
			c.subscribed[k] = r.Clusters
			s.pushTo(c, k)
		}
		return reply, out
	case "ServiceQueryRequest":
		out := ok()
		out.Message, out.ServiceInfo = "success", s.list(k, r.Cluster, r.HealthyOnly)
		return reply, out
	case "ServiceListRequest":
		names := s.names(r.Namespace, r.GroupName)
		count := len(names)
		from := min(max(r.PageNo-1, 0)*max(r.PageSize, 0), count)
		page := names[from:min(from+max(r.PageSize, 0), count)]
		out := ok()
		out.Count, out.ServiceNames = &count, &page
		return reply, out
	}
	return typeErrorResponse, failed(codeNoHandler, "RequestHandler Not Found")
}

// publish registers or withdraws the connection's instances of a service: there is one
// entry for each, which the next one takes the place of.
func (s *Server) publish(c *connection, k service, r *request) *response {
	instances := r.Instances
	switch r.Type {
	case "registerInstance":
		instances = []Instance{r.Instance}
	case "batchRegisterInstance":
	case "deregisterInstance":
		if _, known := c.published[k]; known {
			delete(c.published, k)
			s.push(k)
		}
		return nil
	default:
		return thrown(codeInvalid, "Unsupported request type "+r.Type)
	}
	if len(s.lasting[k]) > 0 {
		return thrown(codeInvalid, fmt.Sprintf("Current service %s is persistent service, can't register ephemeral instance.", k.grouped()))
	}
	var entry []Instance
	for _, i := range instances {
		if i.ClusterName != "" && !clusterName.MatchString(i.ClusterName) {
			return thrown(codeInvalid, fmt.Sprintf("Instance 'clusterName' should be characters with only 0-9a-zA-Z-. (current: %s)", i.ClusterName))
		}
		entry = append(entry, completed(k, i, true))
	}
	c.published[k] = entry
	s.known[k] = true
	s.push(k)
	return nil
}

// completed is an instance as it is listed.
func completed(k service, i Instance, ephemeral bool) Instance {
	i.Metadata, i.Ephemeral = maps.Clone(i.Metadata), ephemeral
	if i.Metadata == nil {
		i.Metadata = map[string]string{}
	}
	i.InstanceID = cmp.Or(i.InstanceID, fmt.Sprintf("%s#%d#%s#%s", i.IP, i.Port, i.ClusterName, k.grouped()))
	i.HeartBeatInterval, i.HeartBeatTimeOut, i.DeleteTimeout, i.IDGenerator = 5000, 15000, 30000, "simple"
	i.ClusterName, i.ServiceName = cmp.Or(i.ClusterName, defaultCluster), k.grouped()
	return i
}

// list returns the service as subscribers see it: instances that are not enabled are
// never in it. Clusters has commas between; "" means all.
func (s *Server) list(k service, clusters string, healthyOnly bool) *serviceInfo {
	info := &serviceInfo{
		Name: k.name, GroupName: k.group, Clusters: clusters, CacheMillis: cacheMillis, Hosts: []Instance{},
		LastRefTime: s.refTime(), Valid: true,
	}
	wanted := strings.Split(clusters, ",")
	for _, i := range s.all(k) {
		if i.Enabled && (clusters == "" || slices.Contains(wanted, i.ClusterName)) && (i.Healthy || !healthyOnly) {
			info.Hosts = append(info.Hosts, i)
		}
	}
	return info
}

// refTime is later than any before, since the SDK leaves out a list that is not later
// than the one it has. Nacos itself pushes less often than every millisecond.
func (s *Server) refTime() int64 {
	s.told = max(millis(), s.told+1)
	return s.told
}

// all has one of each that are equal, as Nacos's set has.
func (s *Server) all(k service) []Instance {
	out := slices.Clone(s.lasting[k])
	for _, c := range s.connections {
		for _, i := range c.published[k] {
			if !slices.ContainsFunc(out, func(other Instance) bool { return reflect.DeepEqual(i, other) }) {
				out = append(out, i)
			}
		}
	}
	slices.SortFunc(out, func(a, b Instance) int { return cmp.Or(cmp.Compare(a.IP, b.IP), a.Port-b.Port) })
	return out
}

func (s *Server) names(namespace, group string) []string {
	out := []string{}
	for k := range s.known {
		if k.namespace == namespace && k.group == group {
			out = append(out, k.name)
		}
	}
	slices.Sort(out)
	return out
}

// push notifies all subscribers of a service.
func (s *Server) push(k service) {
	for _, c := range s.connections {
		if _, wanted := c.subscribed[k]; wanted {
			s.pushTo(c, k)
		}
	}
}

func (s *Server) pushTo(c *connection, k service) {
	c.send(typeNotify, marshal(notify{RequestID: s.expect(c), Module: moduleNaming, ServiceInfo: s.list(k, c.subscribed[k], false)}))
}

// expect returns the ID of a request to the client, which is to be answered.
func (s *Server) expect(c *connection) string {
	s.requests++
	id := fmt.Sprint(s.requests)
	c.unanswered[id] = true
	return id
}
