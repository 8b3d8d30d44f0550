package main

import "github.com/skerryhq/skerry/cmd/skerry/connect"

// The names in this package of types that the command packages share.
type (
	connection = connect.Connection
	exitCode   = connect.ExitCode
	usageError = connect.UsageError
)

var (
	client = connect.Command
	first  = connect.First
)
