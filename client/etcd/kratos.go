package etcd

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/skerryhq/skerry/client"
)

// kratos is that of Kratos's registry in etcd: a program with its endpoints, such as
// grpc://10.0.0.1:9000 and http://10.0.0.1:8000, of which one scheme is wanted.
type kratos struct{ scheme string }

// kratosRoot is where Kratos keeps services by default.
const kratosRoot = "/microservices/"

// program is the value that it writes.
type program struct {
	ID        string            `json:"id"`
	Name      string            `json:"name"`
	Version   string            `json:"version"`
	Metadata  map[string]string `json:"metadata"`
	Endpoints []string          `json:"endpoints"`
}

// The keys that Kratos has names for, and we have in the metadata.
const (
	metaVersion = "version"
	kratosShare = 100 // Kratos's usual weight, which is 1 of ours
)

func (k kratos) instance(id string, value []byte) (client.Instance, bool, error) {
	if id == "" || strings.Contains(id, "/") {
		return client.Instance{}, false, nil
	}
	var p program
	if err := json.Unmarshal(value, &p); err != nil {
		return client.Instance{}, true, err
	}
	i := client.Instance{ID: id}
	for key, value := range p.Metadata {
		describe(&i, key, value)
	}
	if p.Version != "" {
		describe(&i, metaVersion, p.Version)
	}
	if weight, err := strconv.Atoi(p.Metadata[metaWeight]); err == nil && weight > 0 && weight <= maxWeight {
		i.Weight = max(weight/kratosShare, 1)
	}
	for _, endpoint := range p.Endpoints {
		if u, err := url.Parse(endpoint); err == nil && u.Scheme == k.scheme {
			i.Address = u.Host
			return i, true, dialable(u.Host)
		}
	}
	return i, false, nil // it does not serve this
}

func (k kratos) entry(i client.Instance) (id, value string) {
	metadata := make(map[string]string, len(i.Meta)+3)
	for key, value := range i.Meta {
		metadata[key] = value
	}
	delete(metadata, metaVersion)
	if i.Zone != "" {
		metadata[metaZone] = i.Zone
	}
	if i.Weight > 0 {
		metadata[metaWeight] = strconv.Itoa(i.Weight * kratosShare)
	}
	body, err := json.Marshal(program{
		ID: i.ID, Name: i.Service, Version: i.Meta[metaVersion], Metadata: metadata,
		Endpoints: []string{fmt.Sprintf("%s://%s", k.scheme, i.Address)},
	})
	if err != nil {
		panic(err) // there is nothing in it that JSON cannot say
	}
	return i.ID, string(body)
}
