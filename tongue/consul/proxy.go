package consul

import (
	"bytes"
	"encoding/json"
)

// proxyBody is a proxy's definition, which is kept as it came. Its fields are Consul's.
type proxyBody struct{ raw json.RawMessage }

// UnmarshalJSON implements [json.Unmarshaler].
func (p *proxyBody) UnmarshalJSON(b []byte) error {
	type mode struct{ Mode ignored }
	var fields struct {
		DestinationServiceName, DestinationServiceID                  ignored
		LocalServiceAddress, LocalServicePort, LocalServiceSocketPath ignored
		Mode, Config, EnvoyExtensions, AccessLogs                     ignored
		TransparentProxy                                              ignored
		MeshGateway                                                   mode
		Expose                                                        struct{ Checks, Paths ignored }
		Upstreams                                                     []upstreamBody
		DestinationServiceNameSnake                                   ignored `json:"destination_service_name"`
		DestinationServiceIDSnake                                     ignored `json:"destination_service_id"`
		LocalServiceAddressSnake                                      ignored `json:"local_service_address"`
		LocalServicePortSnake                                         ignored `json:"local_service_port"`
		LocalServiceSocketPathSnake                                   ignored `json:"local_service_socket_path"`
		TransparentProxySnake                                         ignored `json:"transparent_proxy"`
		MeshGatewaySnake                                              mode    `json:"mesh_gateway"`
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&fields); err != nil {
		return err
	}
	p.raw = bytes.Clone(b)
	return nil
}

// upstreamBody is one of a proxy's upstreams.
type upstreamBody struct {
	DestinationType, DestinationNamespace, DestinationPartition, DestinationPeer, DestinationName ignored
	Datacenter, LocalBindAddress, LocalBindPort, LocalBindSocketPath, LocalBindSocketMode         ignored
	Config, MeshGateway, CentrallyConfigured                                                      ignored
	DestinationTypeSnake                                                                          ignored `json:"destination_type"`
	DestinationNamespaceSnake                                                                     ignored `json:"destination_namespace"`
	DestinationPartitionSnake                                                                     ignored `json:"destination_partition"`
	DestinationPeerSnake                                                                          ignored `json:"destination_peer"`
	DestinationNameSnake                                                                          ignored `json:"destination_name"`
	LocalBindAddressSnake                                                                         ignored `json:"local_bind_address"`
	LocalBindPortSnake                                                                            ignored `json:"local_bind_port"`
	LocalBindSocketPathSnake                                                                      ignored `json:"local_bind_socket_path"`
	LocalBindSocketModeSnake                                                                      ignored `json:"local_bind_socket_mode"`
	MeshGatewaySnake                                                                              ignored `json:"mesh_gateway"`
}
