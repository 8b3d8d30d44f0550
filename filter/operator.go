package filter

// operator is the kind of a comparison.
type operator uint8

const (
	opEqual operator = iota
	opNotEqual
	opIn
	opNotIn
	opEmpty
	opNotEmpty
	opMatches
	opNotMatches
)

// String returns the operator as errors name it.
func (o operator) String() string {
	return [...]string{"Equal", "Not Equal", "In", "Not In", "Is Empty", "Is Not Empty", "Matches", "Not Matches"}[o]
}

// positive returns the operator without its negation, and whether there was one.
func (o operator) positive() (operator, bool) {
	switch o {
	case opNotEqual, opNotIn, opNotEmpty, opNotMatches:
		return o - 1, true
	}
	return o, false
}

// operatorForm is how an operator is written. A symbol needs no white space around it.
type operatorForm struct {
	op     operator
	symbol bool
	words  []terminal
}

// The operators between a selector and a value, after a selector, and between a
// value and a selector, in the order in which they are tried.
var (
	opsWithValue = []operatorForm{
		{opEqual, true, []terminal{litEqual}},
		{opNotEqual, true, []terminal{litNotEqual}},
		{opIn, false, []terminal{litContains}},
		{opNotIn, false, []terminal{litNot, litContains}},
		{opMatches, false, []terminal{litMatches}},
		{opNotMatches, false, []terminal{litNot, litMatches}},
	}
	opsAlone = []operatorForm{
		{opEmpty, false, []terminal{litIs, litEmpty}},
		{opNotEmpty, false, []terminal{litIs, litNot, litEmpty}},
	}
	opsReversed = []operatorForm{
		{opIn, false, []terminal{litIn}},
		{opNotIn, false, []terminal{litNot, litIn}},
	}
)
