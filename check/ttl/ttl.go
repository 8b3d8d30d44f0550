// Package ttl is the check without a probe: its program reports, and the check becomes
// critical when it does not within the TTL. The state is a deadline that [check.Runner]
// keeps, so this package only names the kind.
package ttl

import (
	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/check"
)

// Kind returns the row of the table.
func Kind() check.Kind {
	return check.Kind{
		Name:    "ttl",
		Matches: func(d *skerry.CheckDefinition) bool { return d.TTL > 0 },
	}
}
