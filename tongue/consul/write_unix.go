//go:build unix

package consul

import (
	"net"
	"syscall"
)

// writeNow writes what the socket takes without waiting, and returns how much that
// was. A connection that is no plain socket takes nothing; an error shows at the
// next write.
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
