package wire

import (
	"bytes"
	"encoding/json"
)

// ProxyBody is a proxy's definition. It is kept as it came; its fields must be Consul's.
type ProxyBody struct{ Raw json.RawMessage }

// UnmarshalJSON implements [json.Unmarshaler].
func (p *ProxyBody) UnmarshalJSON(b []byte) error {
	type mode struct{ Mode Ignored }
	var fields struct {
		DestinationServiceName, DestinationServiceID                  Ignored
		LocalServiceAddress, LocalServicePort, LocalServiceSocketPath Ignored
		Mode, Config, EnvoyExtensions, AccessLogs                     Ignored
		TransparentProxy                                              Ignored
		MeshGateway                                                   mode
		Expose                                                        struct{ Checks, Paths Ignored }
		Upstreams                                                     []upstreamBody
		DestinationServiceNameSnake                                   Ignored `json:"destination_service_name"`
		DestinationServiceIDSnake                                     Ignored `json:"destination_service_id"`
		LocalServiceAddressSnake                                      Ignored `json:"local_service_address"`
		LocalServicePortSnake                                         Ignored `json:"local_service_port"`
		LocalServiceSocketPathSnake                                   Ignored `json:"local_service_socket_path"`
		TransparentProxySnake                                         Ignored `json:"transparent_proxy"`
		MeshGatewaySnake                                              mode    `json:"mesh_gateway"`
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&fields); err != nil {
		return err
	}
	p.Raw = bytes.Clone(b)
	return nil
}

// upstreamBody is one of a proxy's upstreams.
type upstreamBody struct {
	DestinationType, DestinationNamespace, DestinationPartition, DestinationPeer, DestinationName Ignored
	Datacenter, LocalBindAddress, LocalBindPort, LocalBindSocketPath, LocalBindSocketMode         Ignored
	Config, MeshGateway, CentrallyConfigured                                                      Ignored
	DestinationTypeSnake                                                                          Ignored `json:"destination_type"`
	DestinationNamespaceSnake                                                                     Ignored `json:"destination_namespace"`
	DestinationPartitionSnake                                                                     Ignored `json:"destination_partition"`
	DestinationPeerSnake                                                                          Ignored `json:"destination_peer"`
	DestinationNameSnake                                                                          Ignored `json:"destination_name"`
	LocalBindAddressSnake                                                                         Ignored `json:"local_bind_address"`
	LocalBindPortSnake                                                                            Ignored `json:"local_bind_port"`
	LocalBindSocketPathSnake                                                                      Ignored `json:"local_bind_socket_path"`
	LocalBindSocketModeSnake                                                                      Ignored `json:"local_bind_socket_mode"`
	MeshGatewaySnake                                                                              Ignored `json:"mesh_gateway"`
}
