package etcd

import (
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/skerryhq/skerry/client"
)

// layout is how instances are written as keys and values.
type layout interface {
	// instance reads a key and value below the service; ok is false for a key that is not
	// of it.
	instance(id string, value []byte) (i client.Instance, ok bool, err error)
	// entry writes an instance: the part of the key below the service, and the value.
	entry(i client.Instance) (id, value string)
}

var layouts = map[string]layout{
	"gozero": goZero{}, "endpoints": naming{}, "kratos": kratos{"grpc"}, "kratos-http": kratos{"http"},
}

// goZero is go-zero's: an address under a lease's number.
type goZero struct{}

func (goZero) instance(id string, value []byte) (client.Instance, bool, error) {
	if id == "" || strings.Contains(id, "/") {
		return client.Instance{}, false, nil // of a service whose name goes on
	}
	if name, err := url.PathUnescape(id); err == nil {
		id = name
	}
	address := strings.TrimSpace(string(value))
	return client.Instance{ID: id, Address: address}, true, dialable(address)
}

func (goZero) entry(i client.Instance) (id, value string) { return url.PathEscape(i.ID), i.Address }

// naming is that of etcd's package naming/endpoints.
type naming struct{}

// endpoint is the value that it writes; see its internal type Update.
type endpoint struct {
	Op       uint8
	Addr     string
	Metadata any
}

// The metadata that registrations of ours carry beside the instance's own.
const (
	metaZone    = "zone"
	metaWeight  = "weight"
	metaTags    = "tags"
	metaStarted = "started"
)

func (naming) instance(id string, value []byte) (client.Instance, bool, error) {
	if id == "" {
		return client.Instance{}, false, nil
	}
	var e endpoint
	if err := json.Unmarshal(value, &e); err != nil {
		return client.Instance{}, true, err
	}
	i := client.Instance{ID: id, Address: e.Addr}
	metadata, _ := e.Metadata.(map[string]any)
	for key, value := range metadata {
		describe(&i, key, value)
	}
	return i, true, dialable(e.Addr)
}

// describe takes one entry of the metadata in. Ours are known by name; other texts,
// numbers and truths are metadata as they are.
func describe(i *client.Instance, key string, value any) {
	switch v := value.(type) {
	case string:
		if key == metaZone {
			i.Zone = v
			return
		}
		if started, err := time.Parse(time.RFC3339, v); key == metaStarted && err == nil {
			i.Started = started
			return
		}
	case float64:
		if key == metaWeight && v >= 0 && v <= maxWeight {
			i.Weight = int(v)
			return
		}
	case []any:
		if key == metaTags {
			for _, tag := range v {
				i.Tags = append(i.Tags, fmt.Sprint(tag))
			}
		}
		return
	case bool:
	default:
		return
	}
	if i.Meta == nil {
		i.Meta = map[string]string{}
	}
	i.Meta[key] = fmt.Sprint(value)
}

const maxWeight = 1 << 16

func (naming) entry(i client.Instance) (id, value string) {
	metadata := make(map[string]any, len(i.Meta)+4)
	for key, value := range i.Meta {
		metadata[key] = value
	}
	if i.Zone != "" {
		metadata[metaZone] = i.Zone
	}
	if i.Weight > 0 {
		metadata[metaWeight] = i.Weight
	}
	if len(i.Tags) > 0 {
		metadata[metaTags] = i.Tags
	}
	if !i.Started.IsZero() {
		metadata[metaStarted] = i.Started.UTC().Format(time.RFC3339)
	}
	body, err := json.Marshal(endpoint{Addr: i.Address, Metadata: metadata})
	if err != nil {
		panic(err) // there is nothing in it that JSON cannot say
	}
	return i.ID, string(body)
}

// dialable reports why an address cannot be one.
func dialable(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || port == "" {
		return fmt.Errorf("%q is no address: want host:port", address)
	}
	return nil
}
