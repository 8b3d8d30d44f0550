package registry

// Flush sends the messages that wait.
func (r *Registry) Flush() {
	r.post.flush()
	for more := true; more; {
		_, more = r.post.sendPart()
	}
}

// Encode and Decode are the two sides of a frame.
var (
	Encode = encode
	Decode = decode
)
