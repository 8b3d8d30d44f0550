//go:build !linux

package main

import "errors"

func pin(pid, cpu int) error { return errors.New("processes are pinned to processors on Linux only") }
