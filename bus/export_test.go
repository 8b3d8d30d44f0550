package bus

// LimitReceived makes the bound of frames that wait for receive smaller, for tests.
func (b *Bus) LimitReceived(bytes int) {
	b.in.mu.Lock()
	defer b.in.mu.Unlock()
	b.in.limit = bytes
}
