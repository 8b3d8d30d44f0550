//go:build !linux

package heap

func releaseBinary() error { return nil }
