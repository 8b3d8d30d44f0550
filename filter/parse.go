package filter

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// parser reads an expression. The grammar is that of go-bexpr, a parsing expression
// grammar, whose choices are tried in order. Only a comparison is ever read again, and
// comparisons do not nest, so the work is linear. Where the library reads a part again,
// its result and failures are the same.
//
// A failed parse is explained by the terminals that were tried at the farthest
// position, as the library does.
type parser struct {
	text  string
	pos   int
	depth int
	found int // comparisons
	limit error

	inverted bool // within a negative look-ahead
	farthest int
	expected [2]uint64 // at farthest: tried terminals; those of negative look-aheads
	errs     []string
}

// maxErrors bounds the errors reported for one expression.
const maxErrors = 10

// parse returns the expression's tree, whose comparisons are not bound yet, and the
// number of these.
func parse(text string) (n node, comparisons int, err error) {
	p := &parser{text: text}
	if !utf8.ValidString(text) {
		for i, r := range text {
			if r == utf8.RuneError {
				return nil, 0, fmt.Errorf("%s: invalid encoding", p.position(i))
			}
		}
	}
	p.space()
	n = p.or()
	ok := n != nil
	if ok {
		p.space()
		ok = p.end()
	}
	switch {
	case p.limit != nil:
		return nil, 0, p.limit
	case len(p.errs) > 0:
		return nil, 0, errors.New(strings.Join(p.errs, "\n"))
	case !ok:
		return nil, 0, fmt.Errorf("%s: no match found, expected: %s", p.position(p.farthest), p.wanted())
	}
	return n, p.found, nil
}

// or reads: and { _ "or" _ and }.
func (p *parser) or() node {
	return p.chain(p.and, litOr, func(l []node) node { return either(l) })
}

// and reads: not { _ "and" _ not }.
func (p *parser) and() node {
	return p.chain(p.not, litAnd, func(l []node) node { return all(l) })
}

func (p *parser) chain(operand func() node, operator terminal, join func([]node) node) node {
	first := operand()
	if first == nil {
		return nil
	}
	var list []node
	for {
		start := p.pos
		var next node
		if p.space() && p.lit(operator) && p.space() {
			next = operand()
		}
		if p.limit != nil {
			return nil
		}
		if next == nil {
			p.pos = start
			break
		}
		if list == nil {
			list = []node{first}
		}
		list = append(list, next)
	}
	if list == nil {
		return first
	}
	return join(list)
}

// not reads: "not" _ not, or a grouping.
func (p *parser) not() node {
	start := p.pos
	if p.lit(litNot) && p.space() {
		if !p.enter() {
			return nil
		}
		operand := p.not()
		p.depth--
		if operand != nil {
			if twice, ok := operand.(not); ok {
				return twice.operand
			}
			return not{operand}
		}
		if p.limit != nil {
			return nil
		}
	}
	p.pos = start
	return p.grouping()
}

// grouping reads: "(" or ")", or a comparison.
func (p *parser) grouping() node {
	start := p.pos
	if !p.lit(litOpen) {
		return p.comparison()
	}
	if !p.enter() {
		return nil
	}
	p.space()
	n := p.or()
	p.depth--
	if p.limit != nil {
		return nil
	}
	if n != nil {
		p.space()
		if p.lit(litClose) {
			return n
		}
		p.fault("grouping", "Unmatched parentheses")
	}
	p.pos = start
	return nil
}

// enter reports whether one more level is allowed.
func (p *parser) enter() bool {
	if p.depth++; p.depth > MaxDepth {
		p.limit = limitf("%s: the expression is nested more than %d levels deep", p.position(p.pos), MaxDepth)
		return false
	}
	return true
}

// comparison reads a selector with an operator and perhaps a value, in either order.
func (p *parser) comparison() node {
	start := p.pos
	for _, form := range []func() node{p.selectorOpValue, p.selectorOp, p.valueOpSelector} {
		n := form()
		if p.limit != nil {
			return nil
		}
		if n != nil {
			if p.found++; p.found > MaxComparisons {
				p.limit = limitf("the expression makes more than %d comparisons", MaxComparisons)
				return nil
			}
			return n
		}
		p.pos = start
	}
	return nil
}

func (p *parser) selectorOpValue() node {
	sel := p.selector()
	if sel == nil {
		return nil
	}
	op, ok := p.operator(opsWithValue)
	if !ok {
		return nil
	}
	value, ok := p.value()
	if !ok {
		return nil
	}
	return &comparison{selector: sel, op: op, value: value, hasValue: true}
}

func (p *parser) selectorOp() node {
	sel := p.selector()
	if sel == nil {
		return nil
	}
	if op, ok := p.operator(opsAlone); ok {
		return &comparison{selector: sel, op: op}
	}
	return nil
}

func (p *parser) valueOpSelector() node {
	value, ok := p.value()
	if !ok {
		return nil
	}
	op, ok := p.operator(opsReversed)
	if !ok {
		return nil
	}
	if sel := p.selector(); sel != nil {
		return &comparison{selector: sel, op: op, value: value, hasValue: true}
	}
	p.without(func() bool { return p.selector() != nil })
	p.fault("match", "Invalid selector")
	return nil
}

// operator reads one of ops, in order.
func (p *parser) operator(ops []operatorForm) (operator, bool) {
	start := p.pos
	for _, o := range ops {
		if p.words(o) {
			return o.op, true
		}
		p.pos = start
	}
	return 0, false
}

func (p *parser) words(o operatorForm) bool {
	if o.symbol {
		p.space()
		if !p.lit(o.words[0]) {
			return false
		}
		p.space()
		return true
	}
	for _, w := range o.words {
		if !p.space() || !p.lit(w) {
			return false
		}
	}
	return o.op == opEmpty || o.op == opNotEmpty || p.space()
}

// selector reads: identifier { "." identifier | "[" string "]" }; nil if there is none.
func (p *parser) selector() []string {
	first, ok := p.identifier()
	if !ok {
		return nil
	}
	sel := []string{first}
	for {
		if len(sel) > MaxDepth {
			p.limit = limitf("%s: a selector has more than %d parts", p.position(p.pos), MaxDepth)
			return nil
		}
		start := p.pos
		if p.lit(litDot) {
			if name, ok := p.identifier(); ok {
				sel = append(sel, name)
				continue
			}
		}
		p.pos = start
		index, ok := p.index()
		if !ok {
			p.pos = start
			return sel
		}
		sel = append(sel, index)
	}
}

func (p *parser) identifier() (string, bool) {
	start := p.pos
	if !p.class(classLetter) {
		return "", false
	}
	for p.class(classWord) {
	}
	return p.text[start:p.pos], true
}

func (p *parser) index() (string, bool) {
	if !p.lit(litOpenIndex) {
		return "", false
	}
	p.space()
	s, ok := p.str()
	if !ok {
		if !p.without(func() bool { _, ok := p.str(); return ok }) {
			return "", false
		}
		p.fault("index", "Invalid index")
		return "", false
	}
	p.space()
	if p.lit(litCloseIndex) {
		return s, true
	}
	p.without(func() bool { return p.lit(litCloseIndex) })
	p.fault("index", "Unclosed index expression")
	return "", false
}

// value reads a selector, which stands for its own text, a number, or a string.
func (p *parser) value() (string, bool) {
	start := p.pos
	if sel := p.selector(); sel != nil {
		return strings.Join(sel, "."), true
	}
	p.pos = start
	if n, ok := p.number(); ok {
		return n, true
	}
	p.pos = start
	return p.str()
}

func (p *parser) number() (string, bool) {
	start := p.pos
	p.lit(litMinus)
	if !p.lit(litZero) {
		if !p.class(classNonZero) {
			return "", false
		}
		for p.class(classDigit) {
		}
	}
	whole := p.pos
	if p.lit(litDot) && p.class(classDigit) {
		for p.class(classDigit) {
		}
	} else {
		p.pos = whole
	}
	after := func() bool { return p.space() || p.end() || p.lit(litClose) }
	end := p.pos
	ok := after()
	p.pos = end
	if ok {
		return p.text[start:end], true
	}
	p.without(after)
	p.fault("number", "Invalid number literal")
	return "", false
}

// str reads a string in double quotes or backquotes. There are no escaped quotes.
func (p *parser) str() (string, bool) {
	start := p.pos
	for _, quote := range []terminal{litBackquote, litQuote} {
		if !p.lit(quote) {
			continue
		}
		for p.without(func() bool { return p.lit(quote) }) && p.any() {
		}
		if !p.lit(quote) {
			p.fault("string", "Unterminated string literal")
			p.pos = start
			return "", false
		}
		s, err := strconv.Unquote(p.text[start:p.pos])
		if err != nil {
			end := p.pos
			p.pos = start
			p.fault("string", err.Error())
			p.pos = end
		}
		return s, true
	}
	return "", false
}

// fault notes an error at the present position, in the words of the rule.
func (p *parser) fault(rule, text string) {
	if len(p.errs) >= maxErrors {
		return
	}
	e := fmt.Sprintf("%s: rule %q: %s", p.position(p.pos), rule, text)
	if !slices.Contains(p.errs, e) {
		p.errs = append(p.errs, e)
	}
}
