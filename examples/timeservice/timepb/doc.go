// Package timepb is the TimeService of time.proto.
package timepb

//go:generate protoc --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative time.proto
