package filter

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// terminal is a literal or a class of characters of the grammar.
type terminal uint8

const (
	litOpen terminal = iota
	litClose
	litOr
	litAnd
	litNot
	litEqual
	litNotEqual
	litIs
	litEmpty
	litIn
	litContains
	litMatches
	litDot
	litOpenIndex
	litCloseIndex
	litMinus
	litZero
	litQuote
	litBackquote
	classSpace
	classLetter
	classWord
	classNonZero
	classDigit
	anyChar
)

// literals are the texts of the literals, and names the words for all terminals in errors.
var (
	literals = [...]string{
		litOpen: "(", litClose: ")", litOr: "or", litAnd: "and", litNot: "not", litEqual: "==", litNotEqual: "!=", litIs: "is",
		litEmpty: "empty", litIn: "in", litContains: "contains", litMatches: "matches", litDot: ".", litOpenIndex: "[",
		litCloseIndex: "]", litMinus: "-", litZero: "0", litQuote: `"`, litBackquote: "`",
	}
	names = func() (n [anyChar + 1]string) {
		for t, text := range literals {
			n[t] = fmt.Sprintf("%q", text)
		}
		n[classSpace], n[classLetter], n[classWord] = `[ \t\r\n]`, `[a-zA-Z]`, `[a-zA-Z0-9_]`
		n[classNonZero], n[classDigit], n[anyChar] = `[1-9]`, `[0-9]`, "."
		return n
	}()
)

// tried notes that a terminal was tried at a position, if that explains why the parse
// fails.
func (p *parser) tried(t terminal, at int, matched bool) {
	if matched != p.inverted || at < p.farthest {
		return
	}
	if at > p.farthest {
		p.farthest, p.expected = at, [2]uint64{}
	}
	set := 0
	if p.inverted {
		set = 1
	}
	p.expected[set] |= 1 << t
}

func (p *parser) lit(t terminal) bool {
	ok := strings.HasPrefix(p.text[p.pos:], literals[t])
	p.tried(t, p.pos, ok)
	if ok {
		p.pos += len(literals[t])
	}
	return ok
}

func (p *parser) class(t terminal) bool {
	ok := p.pos < len(p.text) && inClass(t, p.text[p.pos])
	p.tried(t, p.pos, ok)
	if ok {
		p.pos++
	}
	return ok
}

func inClass(t terminal, c byte) bool {
	letter := c|0x20 >= 'a' && c|0x20 <= 'z'
	switch t {
	case classSpace:
		return c == ' ' || c == '\t' || c == '\r' || c == '\n'
	case classLetter:
		return letter
	case classWord:
		return letter || c >= '0' && c <= '9' || c == '_'
	case classNonZero:
		return c >= '1' && c <= '9'
	default:
		return c >= '0' && c <= '9'
	}
}

// space reads white space, and reports whether there was any.
func (p *parser) space() bool {
	start := p.pos
	for p.class(classSpace) {
	}
	return p.pos > start
}

func (p *parser) any() bool {
	ok := p.pos < len(p.text)
	p.tried(anyChar, p.pos, ok)
	if ok {
		_, n := utf8.DecodeRuneInString(p.text[p.pos:])
		p.pos += n
	}
	return ok
}

// end reports whether the text ends here.
func (p *parser) end() bool { return p.without(p.any) }

// without is a negative look-ahead: it reports whether the terminal does not match here.
func (p *parser) without(what func() bool) bool {
	start := p.pos
	p.inverted = !p.inverted
	ok := what()
	p.inverted = !p.inverted
	p.pos = start
	return !ok
}

// wanted lists the terminals that were tried at the farthest position.
func (p *parser) wanted() string {
	var list []string
	end := false
	for t, name := range names {
		if p.expected[0]&(1<<t) != 0 {
			list = append(list, name)
		}
		if p.expected[1]&(1<<t) != 0 {
			if terminal(t) == anyChar {
				end = true
			} else {
				list = append(list, "!"+name)
			}
		}
	}
	slices.Sort(list)
	if end {
		list = append(list, "EOF")
	}
	if n := len(list); n > 1 {
		return strings.Join(list[:n-1], ", ") + " or " + list[n-1]
	}
	return strings.Join(list, "")
}

// position words a position as line:column (offset). A line break belongs to the
// line that it begins, as in go-bexpr.
func (p *parser) position(offset int) string {
	line, col := 1, 0
	for i, r := range p.text {
		if i > offset {
			break
		}
		if col++; r == '\n' {
			line, col = line+1, 0
		}
	}
	if offset >= len(p.text) {
		col++
	}
	return fmt.Sprintf("%d:%d (%d)", line, col, offset)
}
