package skerryhttp

import (
	"io"
	"sync"
)

// body notices when an answer has been read to its end, or is closed.
type body struct {
	io.ReadCloser
	once sync.Once
	done func(failed bool)
}

// Read implements [io.Reader].
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.once.Do(func() { b.done(err != io.EOF) })
	}
	return n, err
}

// Close implements [io.Closer].
func (b *body) Close() error {
	b.once.Do(func() { b.done(false) })
	return b.ReadCloser.Close()
}

// Write passes data on where the connection was upgraded to another protocol.
func (b *body) Write(p []byte) (int, error) {
	if w, ok := b.ReadCloser.(io.Writer); ok {
		return w.Write(p)
	}
	return 0, errNotUpgraded
}
