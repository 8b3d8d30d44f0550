package dns

import (
	"cmp"
	"math/rand/v2"
	"net"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// ranked is a unit with its rank for one client.
type ranked struct {
	score uint64
	unit  int32
}

// rank orders all units for a client by rendezvous hashing. An answer without room for
// all then has the same ones for the same client every time, has different ones for
// different clients, and changes little when instances come and go. A set with an order
// of its own keeps it.
func rank(s set, client net.Addr, out []ranked) []ranked {
	if s.ordered() {
		for i := range s.count() {
			out = append(out, ranked{0, int32(i)})
		}
		return out
	}
	seed := clientHash(client)
	for i := range s.count() {
		out = append(out, ranked{mix(seed ^ s.unit(i).hash()), int32(i)})
	}
	slices.SortFunc(out, func(a, b ranked) int {
		if c := cmp.Compare(b.score, a.score); c != 0 {
			return c
		}
		return cmp.Compare(a.unit, b.unit)
	})
	return out
}

// clientHash hashes the client's IP address; its port changes with every query.
func clientHash(a net.Addr) uint64 {
	var ip net.IP
	switch a := a.(type) {
	case *net.UDPAddr:
		ip = a.IP
	case *net.TCPAddr:
		ip = a.IP
	}
	return xxhash.Sum64(ip.To16())
}

// mix spreads every bit over all others (the finalizer of SplitMix64).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func shuffle(units []int32) {
	for i := len(units) - 1; i > 0; i-- {
		j := rand.IntN(i + 1)
		units[i], units[j] = units[j], units[i]
	}
}
