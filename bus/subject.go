package bus

import (
	"errors"
	"fmt"
	"strings"
)

// maxName bounds the names of servers and datacenters, in bytes: the longest subject is
// shorter than the 4,096 bytes that NATS takes as one line.
const maxName = 256

// kind is what a subject is for.
type kind uint8

const (
	toAll kind = iota // a frame for all other servers
	toOne             // a frame for one
	here              // a server's sign of life, see presence.go
)

// subjects makes and reads the subjects of one server in one datacenter:
// skerry.DC.all.FROM, skerry.DC.to.TO.FROM and skerry.DC.here.FROM.
type subjects struct {
	prefix string // "skerry.DC."
	self   string // the token of this server
}

func newSubjects(datacenter, self string) (subjects, error) {
	if err := checkName(datacenter); err != nil {
		return subjects{}, fmt.Errorf("datacenter: %w", err)
	}
	if err := checkName(self); err != nil {
		return subjects{}, fmt.Errorf("own name: %w", err)
	}
	return subjects{prefix: "skerry." + token(datacenter) + ".", self: token(self)}, nil
}

func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("a name is empty")
	case len(name) > maxName:
		return fmt.Errorf("a name has %d bytes, at most %d are possible", len(name), maxName)
	}
	return nil
}

func (s subjects) all() string          { return s.prefix + "all." + s.self }
func (s subjects) one(to string) string { return s.prefix + "to." + token(to) + "." + s.self }
func (s subjects) here() string         { return s.prefix + "here." + s.self }

// heard are the subjects that this server subscribes to.
func (s subjects) heard() []string {
	return []string{s.prefix + "all.*", s.prefix + "to." + s.self + ".*", s.prefix + "here.*"}
}

// parse returns the kind of a subject and its sender's token. It is not ok if the subject
// is another datacenter's, addressed to another server, or not of this form.
func (s subjects) parse(subject string) (k kind, from string, ok bool) {
	rest, ok := strings.CutPrefix(subject, s.prefix)
	if !ok {
		return 0, "", false
	}
	word, from, _ := strings.Cut(rest, ".")
	switch word {
	case "all":
		k = toAll
	case "here":
		k = here
	case "to":
		k = toOne
		to, sender, _ := strings.Cut(from, ".")
		if to != s.self {
			return 0, "", false
		}
		from = sender
	default:
		return 0, "", false
	}
	return k, from, from != "" && !strings.Contains(from, ".")
}

const hex = "0123456789ABCDEF"

// token makes a name a legal token of a subject. Letters, digits, "-" and "_" stand for
// themselves, any other byte is "=" and two hexadecimal digits.
func token(name string) string {
	var b strings.Builder
	for i := range len(name) {
		if c := name[i]; plain(c) {
			b.WriteByte(c)
		} else {
			b.WriteByte('=')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}

// untoken is the reverse of token. It is not ok for any text that token does not make, so
// that no name has two tokens.
func untoken(t string) (name string, ok bool) {
	b := make([]byte, 0, len(t))
	for i := 0; i < len(t); i++ {
		c := t[i]
		if c == '=' {
			if i+2 >= len(t) {
				return "", false
			}
			high, low := strings.IndexByte(hex, t[i+1]), strings.IndexByte(hex, t[i+2])
			if high < 0 || low < 0 || plain(byte(high<<4|low)) {
				return "", false
			}
			c, i = byte(high<<4|low), i+2
		} else if !plain(c) {
			return "", false
		}
		b = append(b, c)
	}
	return string(b), checkName(string(b)) == nil
}

func plain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}
