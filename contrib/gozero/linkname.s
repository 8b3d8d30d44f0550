// This file lets the package have functions without bodies: see go:linkname in etcd.go.
