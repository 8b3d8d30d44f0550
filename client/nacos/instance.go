package nacos

import (
	"cmp"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nacos-group/nacos-sdk-go/v2/model"

	"github.com/skerryhq/skerry/client"
)

const (
	splitter       = "@@" // between a group and a service
	defaultCluster = "DEFAULT"
	maxWeight      = 1 << 16
	metaTags       = "skerry.tags" // JSON
	metaStarted    = "skerry.started"
)

// name takes a service's name apart.
func (s *Source) name(service string) (group, name string) {
	if group, name, ok := strings.Cut(service, splitter); ok && group != "" {
		return group, name
	}
	return s.group, service
}

// instances reads a list of Nacos's.
func instances(service string, hosts []model.Instance) []client.Instance {
	out := make([]client.Instance, 0, len(hosts))
	for n := range hosts {
		i, err := instance(service, &hosts[n])
		if err != nil {
			slog.Warn("what Nacos lists cannot be read as an instance", "service", service, "instance", hosts[n].InstanceId, "error", err)
			continue
		}
		out = append(out, i)
	}
	slices.SortFunc(out, func(a, b client.Instance) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

func instance(service string, from *model.Instance) (client.Instance, error) {
	if from.Ip == "" || from.Port == 0 || from.Port > math.MaxUint16 {
		return client.Instance{}, fmt.Errorf("ip %q and port %d are no address", from.Ip, from.Port)
	}
	port := strconv.FormatUint(from.Port, 10)
	i := client.Instance{
		ID:      cmp.Or(from.InstanceId, strings.Join([]string{from.Ip, port, from.ClusterName, from.ServiceName}, "#")),
		Service: service, Address: net.JoinHostPort(from.Ip, port),
		Weight:   weight(from.Weight),
		Draining: !from.Healthy || !from.Enable || !(from.Weight > 0),
	}
	if from.ClusterName != defaultCluster {
		i.Zone = from.ClusterName
	}
	for key, value := range from.Metadata {
		switch key {
		case metaTags:
			if json.Unmarshal([]byte(value), &i.Tags) == nil {
				continue
			}
			i.Tags = nil
		case metaStarted:
			if started, err := time.Parse(time.RFC3339, value); err == nil {
				i.Started = started
				continue
			}
		}
		if i.Meta == nil {
			i.Meta = make(map[string]string, len(from.Metadata))
		}
		i.Meta[key] = value
	}
	return i, nil
}

// weight rounds up: the SDK's own choice by weight counts whole numbers too.
func weight(w float64) int {
	if !(w > 0) {
		return 0 // it is draining
	}
	return int(math.Ceil(min(w, maxWeight)))
}

// entry writes an instance.
func (s *Source) entry(i *client.Instance) (model.Instance, error) {
	host, number, err := net.SplitHostPort(i.Address)
	if err != nil {
		return model.Instance{}, err
	}
	port, err := strconv.ParseUint(number, 10, 16)
	if err != nil || port == 0 {
		return model.Instance{}, fmt.Errorf("address %q: want a port in digits", i.Address)
	}
	first, _, _ := strings.Cut(s.clusters, ",")
	metadata := make(map[string]string, len(i.Meta)+2)
	for key, value := range i.Meta {
		metadata[key] = value
	}
	if len(i.Tags) > 0 {
		tags, err := json.Marshal(i.Tags)
		if err != nil {
			return model.Instance{}, err
		}
		metadata[metaTags] = string(tags)
	}
	if !i.Started.IsZero() {
		metadata[metaStarted] = i.Started.UTC().Format(time.RFC3339)
	}
	return model.Instance{
		InstanceId: i.ID, Ip: host, Port: port, Weight: float64(max(i.Weight, 1)), ClusterName: cmp.Or(i.Zone, first, defaultCluster),
		Metadata: metadata, Healthy: true, Enable: true, Ephemeral: true,
	}, nil
}
