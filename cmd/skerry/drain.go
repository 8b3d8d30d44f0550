package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/cmd/skerry/show"
)

// maxCount bounds the answer of a drain.
const maxCount = 1 << 20

// deregister withdraws a service from the agent, after a drain of this time at most if it is not 0. The count is nil
// where the agent does not wait for readers, as Consul.
func deregister(ctx context.Context, c *connection, id string, drain time.Duration) (*skerry.Drained, error) {
	query := url.Values{}
	if drain > 0 {
		query.Set("drain", drain.String())
	}
	answer, err := c.Open(ctx, http.MethodPut, "/v1/agent/service/deregister/"+id, query, nil)
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	body, err := io.ReadAll(io.LimitReader(answer, maxCount))
	if err != nil || len(bytes.TrimSpace(body)) == 0 {
		return nil, err
	}
	var count skerry.Drained
	if err := json.Unmarshal(body, &count); err != nil {
		return nil, fmt.Errorf("the agent's answer cannot be read: %w", err)
	}
	return &count, nil
}

// sentence is a count in words.
func sentence(d *skerry.Drained) string {
	switch {
	case d == nil:
		return "It did not drain: the agent does not count readers."
	case d.Safe:
		return fmt.Sprintf("All readers know: %d have the list without it, %d are gone.", d.Acked, d.Gone)
	}
	return fmt.Sprintf("Not all readers know: %d have the list without it, %d are gone, %d may call it still: %s.",
		d.Acked, d.Gone, d.Pending, show.Line(strings.Join(d.Waiting, "; ")))
}
