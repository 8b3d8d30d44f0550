package skerry

// Event is a user event: a name with a payload that is delivered to selected nodes.
type Event struct {
	ID      string `json:"id"` // a UUID
	Name    string `json:"name"`
	Payload []byte `json:"payload,omitempty"`
	// The filters are regular expressions, empty for all: of the node's name, of the
	// name of a service on it, and of a tag of that service.
	NodeFilter    string `json:"node_filter,omitempty"`
	ServiceFilter string `json:"service_filter,omitempty"`
	TagFilter     string `json:"tag_filter,omitempty"`
	Version       int    `json:"version"` // of this record's form
	LTime         uint64 `json:"ltime"`   // orders events
}
