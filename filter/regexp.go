package filter

import (
	"regexp"
	"regexp/syntax"
	"strings"
)

// A short pattern can ask for a large program: x{1000} is 7 bytes and 1,000
// instructions, \pL 3 bytes and 600 ranges. So a pattern's size is worked out before
// its program is made.
const (
	// MaxPattern is the longest regular expression in bytes.
	MaxPattern = 1024

	maxProgram = 2048 // instructions of all patterns of one expression
	maxClasses = 32   // Unicode classes of one pattern
	runesPerOp = 8    // runes of a class that cost as much as an instruction
)

// Regexp compiles a pattern that a client sent. It has at most 1,024 bytes and a
// program of about 2,048 instructions; beyond that the error is a [*Limit].
func Regexp(pattern string) (*regexp.Regexp, error) {
	budget := maxProgram
	return compile(pattern, &budget)
}

// compile takes the size of the pattern's program from budget.
func compile(pattern string, budget *int) (*regexp.Regexp, error) {
	if len(pattern) > MaxPattern {
		return nil, limitf("the regular expression has %d bytes; at most %d are allowed", len(pattern), MaxPattern)
	}
	if n := strings.Count(pattern, `\p`) + strings.Count(pattern, `\P`); n > maxClasses {
		return nil, limitf("the regular expression names %d Unicode classes; at most %d are allowed", n, maxClasses)
	}
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, err
	}
	if *budget -= instructions(tree, *budget); *budget < 0 {
		return nil, limitf("the regular expression %.40q is too large: repeat less, or name fewer characters", pattern)
	}
	return regexp.Compile(pattern)
}

// instructions returns about how many instructions re needs. It stops to count
// beyond most.
func instructions(re *syntax.Regexp, most int) int {
	n := 0
	for _, sub := range re.Sub {
		if n += instructions(sub, most); n > most {
			return n
		}
	}
	switch re.Op {
	case syntax.OpLiteral:
		return len(re.Rune)
	case syntax.OpConcat:
		return n
	case syntax.OpRepeat:
		return n * max(re.Min, re.Max, 1)
	}
	return n + 1 + len(re.Rune)/runesPerOp
}
