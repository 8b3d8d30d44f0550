package sandbox

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
)

// Ports below the ephemeral range, so that no outgoing connection takes one
// between the search and its use, and below those (from 10000) that the official
// client's own tests reserve.
const (
	firstPort = 4000
	lastPort  = 9900
	blockSize = 100
)

var (
	portsMu  sync.Mutex
	nextPort int
	endPort  int            // of the block of nextPort
	claims   []net.Listener // the first port of each block of this process
	returned []int          // they are used when no block is left
)

// FreePort returns a port of 127.0.0.1 that is free for TCP and UDP. No other call returns
// it before [ReturnPort], in this process or in another that runs at the same time, so that a
// server can be stopped and started again on it.
func FreePort() (int, error) {
	portsMu.Lock()
	defer portsMu.Unlock()
	for {
		if nextPort == endPort && !claimBlock() {
			for i, p := range returned {
				if free(p) {
					returned = slices.Delete(returned, i, i+1)
					return p, nil
				}
			}
			return 0, fmt.Errorf("every block of %d ports from %d to %d is taken", blockSize, firstPort, lastPort)
		}
		p := nextPort
		if nextPort++; free(p) {
			return p, nil
		}
	}
}

// ReturnPort gives a port of [FreePort] back.
func ReturnPort(port int) {
	portsMu.Lock()
	defer portsMu.Unlock()
	returned = append(returned, port)
}

// claimBlock takes a block of ports that no process has. A block belongs to the process
// that listens on its first port.
func claimBlock() bool {
	for first := firstPort; first < lastPort; first += blockSize {
		if l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(first))); err == nil {
			claims = append(claims, l)
			nextPort, endPort = first+1, first+blockSize
			return true
		}
	}
	return false
}

func free(port int) bool {
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	l, err := net.Listen("tcp", address)
	if err != nil {
		return false
	}
	defer l.Close()
	p, err := net.ListenPacket("udp", address)
	if err != nil {
		return false
	}
	p.Close()
	return true
}
