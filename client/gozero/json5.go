package gozero

import (
	"encoding/json"
	"math/big"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// readJSON5 reads JSON5 (https://spec.json5.org). Infinity and NaN are refused, as
// go-zero refuses them.
func readJSON5(content []byte) (any, error) {
	r := &json5{rest: string(content)}
	value, ok := r.value(0)
	if r.space(); !ok || r.rest != "" {
		return nil, &errSyntax{"JSON5", 1 + strings.Count(string(content[:len(content)-len(r.rest)]), "\n")}
	}
	return value, nil
}

// json5 is a reader; its methods return false where the text is not what it must be.
type json5 struct{ rest string }

const deepest = 1000

// take takes a prefix, if it is there.
func (r *json5) take(prefix string) bool {
	rest, ok := strings.CutPrefix(r.rest, prefix)
	r.rest = rest
	return ok
}

func newline(c rune) bool { return c == '\n' || c == '\r' || c == '\u2028' || c == '\u2029' }

// space skips white space and comments.
func (r *json5) space() {
	for {
		r.rest = strings.TrimLeftFunc(r.rest, func(c rune) bool { return unicode.IsSpace(c) || newline(c) || c == '\ufeff' })
		if after, ok := strings.CutPrefix(r.rest, "//"); ok {
			r.rest = after[strings.IndexFunc(after+"\n", newline):]
		} else if after, ok := strings.CutPrefix(r.rest, "/*"); ok {
			end := strings.Index(after, "*/")
			if end < 0 {
				return
			}
			r.rest = after[end+2:]
		} else {
			return
		}
	}
}

func (r *json5) value(depth int) (any, bool) {
	r.space()
	switch {
	case depth > deepest || r.rest == "":
		return nil, false
	case r.take("{"):
		return r.object(depth)
	case r.take("["):
		return r.list(depth)
	case r.rest[0] == '"' || r.rest[0] == '\'':
		return r.text()
	}
	word := r.rest
	if end := strings.IndexFunc(word, func(c rune) bool { return unicode.IsSpace(c) || strings.ContainsRune(",]}:/\"'", c) }); end >= 0 {
		word = word[:end]
	}
	value, ok := scalar(word)
	if ok {
		r.rest = r.rest[len(word):]
	}
	return value, ok
}

func scalar(word string) (any, bool) {
	switch word {
	case "null":
		return nil, true
	case "true", "false":
		return word == "true", true
	}
	sign, digits := "", strings.TrimPrefix(word, "+")
	if after, ok := strings.CutPrefix(word, "-"); ok {
		sign, digits = "-", after
	}
	if hex, ok := strings.CutPrefix(strings.ToLower(digits), "0x"); ok {
		n, ok := new(big.Int).SetString(hex, 16)
		if !ok || strings.ContainsAny(hex, "+-_") {
			return nil, false
		}
		return json.Number(sign + n.String()), true
	}
	if whole, exponent, ok := strings.Cut(strings.ToLower(digits), "e"); ok {
		digits = strings.TrimSuffix(whole, ".") + "e" + exponent
	}
	if digits = strings.TrimSuffix(digits, "."); strings.HasPrefix(digits, ".") {
		digits = "0" + digits
	}
	number := json.Number(sign + digits)
	if !json.Valid([]byte(number)) || digits[0] < '0' || digits[0] > '9' {
		return nil, false
	}
	return number, true
}

func (r *json5) list(depth int) (any, bool) {
	out := []any{}
	for {
		if r.space(); r.take("]") {
			return out, true
		}
		value, ok := r.value(depth + 1)
		if !ok {
			return nil, false
		}
		out = append(out, value)
		if r.space(); !r.take(",") && !strings.HasPrefix(r.rest, "]") {
			return nil, false
		}
	}
}

func (r *json5) object(depth int) (any, bool) {
	out := map[string]any{}
	for {
		if r.space(); r.take("}") {
			return out, true
		}
		key, ok := r.key()
		if !ok {
			return nil, false
		}
		if r.space(); !r.take(":") {
			return nil, false
		}
		value, ok := r.value(depth + 1)
		if !ok {
			return nil, false
		}
		out[key] = value
		if r.space(); !r.take(",") && !strings.HasPrefix(r.rest, "}") {
			return nil, false
		}
	}
}

// key reads a text or a name.
func (r *json5) key() (string, bool) {
	if strings.HasPrefix(r.rest, `"`) || strings.HasPrefix(r.rest, "'") {
		return r.text()
	}
	end := strings.IndexFunc(r.rest, func(c rune) bool {
		return c != '$' && c != '_' && c != '\u200c' && c != '\u200d' && !unicode.In(c, unicode.L, unicode.Nl, unicode.Mn, unicode.Mc, unicode.Nd, unicode.Pc)
	})
	if end <= 0 || r.rest[0] >= '0' && r.rest[0] <= '9' {
		return "", false
	}
	key := r.rest[:end]
	r.rest = r.rest[end:]
	return key, true
}

var escapes = map[rune]rune{'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', 'v': '\v', '0': 0}

// text reads a text in either kind of quotes.
func (r *json5) text() (string, bool) {
	quote := rune(r.rest[0])
	var out strings.Builder
	for n := 1; n < len(r.rest); {
		c, size := utf8.DecodeRuneInString(r.rest[n:])
		n += size
		switch {
		case c == quote:
			r.rest = r.rest[n:]
			return out.String(), true
		case c == '\n' || c == '\r':
			return "", false
		case c != '\\':
			out.WriteRune(c)
			continue
		}
		escaped, size := utf8.DecodeRuneInString(r.rest[n:])
		n += size
		switch {
		case escaped == 'u' || escaped == 'x':
			c, size, ok := hexEscape(escaped, r.rest[n:])
			if !ok {
				return "", false
			}
			out.WriteRune(c)
			n += size
		case escaped == '\r' && strings.HasPrefix(r.rest[n:], "\n"):
			n++
		case newline(escaped): // the line goes on
		case escaped >= '1' && escaped <= '9', size == 0:
			return "", false
		default:
			if c, known := escapes[escaped]; known {
				escaped = c
			}
			out.WriteRune(escaped)
		}
	}
	return "", false
}

// hexEscape reads what follows \u or \x; a pair of \u may be one character.
func hexEscape(kind rune, s string) (c rune, size int, ok bool) {
	if size = 2; kind == 'u' {
		size = 4
	}
	digits := func(s string) (rune, bool) {
		if len(s) < size || strings.ContainsAny(s[:size], "+-_") {
			return 0, false
		}
		n, err := strconv.ParseUint(s[:size], 16, 32)
		return rune(n), err == nil
	}
	if c, ok = digits(s); !ok || c < 0xd800 || c > 0xdbff {
		return c, size, ok
	}
	if after, more := strings.CutPrefix(s[size:], `\u`); more {
		if low, ok := digits(after); ok && low >= 0xdc00 && low <= 0xdfff {
			return 0x10000 + (c-0xd800)<<10 + low - 0xdc00, size + 6, true
		}
	}
	return unicode.ReplacementChar, size, true
}
