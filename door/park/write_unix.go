//go:build unix

package park

import (
	"net"
	"syscall"
)

// writeNow writes the bytes that the socket takes without waiting, and returns their
// number. It writes nothing to a connection that is no plain socket. The next write
// returns an error, if any.
func writeNow(conn net.Conn, b []byte) (n int) {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return 0
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return 0
	}
	raw.Write(func(fd uintptr) bool {
		n, _ = syscall.Write(int(fd), b)
		return true
	})
	return max(n, 0)
}
