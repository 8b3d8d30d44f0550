package program

import (
	"context"
	"time"

	"github.com/skerryhq/skerry/tool/sandbox"
)

// Await is [sandbox.Await] with patience.
func Await(patience time.Duration, is func() error) error {
	ctx, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	return sandbox.Await(ctx, is)
}
