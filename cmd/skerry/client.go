package main

import "github.com/skerryhq/skerry/cmd/skerry/connect"

// The words of this package for what the packages of commands share.
type (
	connection = connect.Connection
	exitCode   = connect.ExitCode
	usageError = connect.UsageError
)

var (
	client = connect.Command
	first  = connect.First
)
