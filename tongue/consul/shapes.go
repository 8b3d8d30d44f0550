package consul

import "github.com/skerryhq/skerry/tongue/consul/wire"

// Embedded by these names, a shape does not hide the field of its own name.
type (
	nodeShape    = wire.Node
	serviceShape = wire.Service
	readShape    = wire.ReadMeta
)
