package consul

import "sync"

// Streams are the open streams of a process whose events are acknowledged, over reloads.
type Streams struct{ byName sync.Map } // string → *stream
