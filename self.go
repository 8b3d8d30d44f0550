package skerry

// Self identifies this process in the cluster.
type Self struct {
	Name       string // of the node; unique in its datacenter
	ID         string // a UUID; a restart does not change it
	Datacenter string
	Server     bool // false: a node agent
}
