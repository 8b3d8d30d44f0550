package skerry

// The bounds of registrations and keys, for all front-ends. Consul documents none
// for names. They are far above any DNS name, path or label.
const (
	MaxName        = 1 << 10  // bytes of a name, an ID, an address or a tag
	MaxTags        = 1 << 10  // tags of an instance
	MaxPairs       = 64       // metadata, tagged addresses
	MaxText        = 64 << 10 // bytes of a check's notes, URL, body and the like, together
	MaxKey         = 64 << 10 // bytes of a key; Consul documents none and takes as much
	MaxCheckOutput = 1 << 20  // bytes of a check's output that an external program writes
	MaxRecords     = 10_000   // instances and checks of an agent, which it announces to servers
)

// Bounded returns an error that names the field if a name or ID is too long.
func Bounded(field, name string) error {
	if len(name) > MaxName {
		return Errorf(Invalid, "%s: %.40q… has %d bytes; at most %d are allowed", field, name, len(name), MaxName)
	}
	return nil
}

// Bounds returns an error if a part of the node is too large.
func (n *Node) Bounds() error {
	if err := Bounded("Node", n.Name); err != nil {
		return err
	}
	if err := Bounded("Address", n.Address); err != nil {
		return err
	}
	if err := boundedPairs("TaggedAddresses", n.TaggedAddresses); err != nil {
		return err
	}
	return boundedPairs("Meta", n.Meta)
}

// Bounds returns an error if a part of the instance is too large.
func (i *Instance) Bounds() error {
	for _, f := range [...]struct{ field, value string }{{"ID", i.ID}, {"Service", i.Service}, {"Address", i.Address}} {
		if err := Bounded(f.field, f.value); err != nil {
			return err
		}
	}
	if len(i.Tags) > MaxTags {
		return Errorf(Invalid, "Tags: %d are too many; at most %d are allowed", len(i.Tags), MaxTags)
	}
	for _, tag := range i.Tags {
		if err := Bounded("Tags", tag); err != nil {
			return err
		}
	}
	if len(i.TaggedAddresses) > MaxPairs {
		return Errorf(Invalid, "TaggedAddresses: %d are too many; at most %d are allowed", len(i.TaggedAddresses), MaxPairs)
	}
	for name, e := range i.TaggedAddresses {
		if err := Bounded("TaggedAddresses", name); err != nil {
			return err
		}
		if err := Bounded("TaggedAddresses", e.Address); err != nil {
			return err
		}
	}
	return boundedPairs("Meta", i.Meta)
}

// Bounds returns an error if a part of the check is too large.
func (c *Check) Bounds() error {
	for _, f := range [...]struct{ field, value string }{{"CheckID", c.ID}, {"Name", c.Name}, {"ServiceID", c.ServiceID}, {"Status", string(c.Status)}} {
		if err := Bounded(f.field, f.value); err != nil {
			return err
		}
	}
	if len(c.Notes) > MaxText {
		return Errorf(Invalid, "Notes: %d bytes are too many; at most %d are allowed", len(c.Notes), MaxText)
	}
	if len(c.Output) > MaxCheckOutput {
		return Errorf(Invalid, "Output: %d bytes are too many; at most %d are allowed", len(c.Output), MaxCheckOutput)
	}
	return nil
}

// Bounds returns an error if a part of the definition is too large.
func (d *CheckDefinition) Bounds() error {
	for _, f := range [...]struct{ field, value string }{{"CheckID", d.ID}, {"Name", d.Name}, {"ServiceID", d.ServiceID}} {
		if err := Bounded(f.field, f.value); err != nil {
			return err
		}
	}
	n := 0
	for _, s := range [...]string{d.Notes, d.HTTP, d.Method, d.Body, d.TCP, d.UDP, d.GRPC, d.H2PING, d.DockerContainerID, d.Shell, d.OSService, d.TLSServerName, d.AliasNode, d.AliasService} {
		n += len(s)
	}
	for _, s := range d.Args {
		n += len(s) + 1
	}
	for name, values := range d.Header {
		n += len(name)
		for _, v := range values {
			n += len(v) + 1
		}
	}
	if n > MaxText {
		return Errorf(Invalid, "Check: its definition has %d bytes; at most %d are allowed", n, MaxText)
	}
	return nil
}

func boundedPairs(field string, m map[string]string) error {
	if len(m) > MaxPairs+8 { // a node adds pairs of its own
		return Errorf(Invalid, "%s: %d pairs are too many; at most %d are allowed", field, len(m), MaxPairs)
	}
	for k, v := range m {
		if err := Bounded(field, k); err != nil {
			return err
		}
		if err := Bounded(field, v); err != nil {
			return err
		}
	}
	return nil
}
