package query

import (
	"strconv"
	"strings"

	"github.com/skerryhq/skerry"
)

// asked is a name that a template answers for, and its parts.
type asked struct {
	full, prefix, suffix string
	groups               []string
}

// text is a string with parts to fill in.
type text []part

// part is fixed text or, with of, a part to fill in.
type part struct {
	fixed string
	of    func(*asked) string
}

func (t text) plain() bool { return len(t) == 0 || len(t) == 1 && t[0].of == nil }

func (t text) fill(a *asked) string {
	var b strings.Builder
	for _, p := range t {
		if p.of != nil {
			b.WriteString(p.of(a))
		} else {
			b.WriteString(p.fixed)
		}
	}
	return b.String()
}

// parseText splits s at its ${…}. "$${" stands for "${".
func parseText(s string) (text, error) {
	var t text
	fixed := ""
	for {
		at := strings.Index(s, "${")
		if at < 0 {
			return append(t, part{fixed: fixed + s}), nil
		}
		if at > 0 && s[at-1] == '$' {
			fixed += s[:at-1] + "${"
			s = s[at+2:]
			if len(t) == 0 {
				t = append(t, part{fixed: ""}) // it is no longer plain: the escape must go
			}
			continue
		}
		inner, rest, ok := strings.Cut(s[at+2:], "}")
		if !ok {
			return nil, skerry.Errorf(skerry.Invalid, "Bad format '%s': the '${' at %d is not closed by '}'", s, at)
		}
		of, err := parsePart(strings.TrimSpace(inner))
		if err != nil {
			return nil, err
		}
		t = append(t, part{fixed: fixed + s[:at]}, part{of: of})
		fixed, s = "", rest
	}
}

// parsePart returns the function that fills in the part ${s}.
func parsePart(s string) (func(*asked) string, error) {
	switch s {
	case "name.full":
		return func(a *asked) string { return a.full }, nil
	case "name.prefix":
		return func(a *asked) string { return a.prefix }, nil
	case "name.suffix":
		return func(a *asked) string { return a.suffix }, nil
	case "agent.segment": // the only network segment has no name; others are Enterprise's
		return func(*asked) string { return "" }, nil
	}
	number, isCall := strings.CutPrefix(s, "match(")
	number, closed := strings.CutSuffix(number, ")")
	n, err := strconv.Atoi(strings.TrimSpace(number))
	if !isCall || !closed || err != nil || n < 0 {
		return nil, skerry.Errorf(skerry.Invalid, "Bad format '${%s}': use name.full, name.prefix, name.suffix or match(N)", s)
	}
	return func(a *asked) string {
		if n < len(a.groups) {
			return a.groups[n]
		}
		return "" // as in Consul, also when the regexp does not match
	}, nil
}
