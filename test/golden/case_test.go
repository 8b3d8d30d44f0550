package golden

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// step is one request of a file, with the answer that is wanted. In the file:
//
//	=== what this shows
//	! options, such as "body keys"; "id NAME" or "keep NAME": {{NAME}} is the answer's ID, or the answer, from here on
//	> PUT /v1/path
//	> Header: value
//	the request's body
//	---
//	< 200
//	< Header: value
//	the answer's body
type step struct {
	title   string
	options []string
	method  string
	path    string
	headers [][2]string
	body    string
	want    string // from the line after --- on
}

// file is a golden file: its first lines, and its steps in order.
type file struct {
	head  string
	steps []step
}

func parse(text string) (file, error) {
	head, rest, _ := strings.Cut(text, "=== ")
	f := file{head: head}
	if rest == "" {
		return f, fmt.Errorf("the file has no step")
	}
	for part := range strings.SplitSeq(rest, "\n=== ") {
		s, err := parseStep(part)
		if err != nil {
			return f, fmt.Errorf("%q: %w", s.title, err)
		}
		f.steps = append(f.steps, s)
	}
	return f, nil
}

func parseStep(text string) (s step, err error) {
	s.title, text, _ = strings.Cut(text, "\n")
	text, s.want, _ = strings.Cut(text, "\n---\n")
	s.want = strings.TrimRight(s.want, "\n")
	var body []string
	for line := range strings.SplitSeq(text, "\n") {
		option, isOption := strings.CutPrefix(line, "! ")
		asked, isAsked := strings.CutPrefix(line, "> ")
		switch {
		case isOption && len(body) == 0:
			s.options = append(s.options, option)
		case isAsked && s.method == "":
			s.method, s.path, _ = strings.Cut(asked, " ")
		case isAsked && len(body) == 0:
			name, value, ok := strings.Cut(asked, ": ")
			if !ok {
				return s, fmt.Errorf("%q is not a header", asked)
			}
			s.headers = append(s.headers, [2]string{name, value})
		default:
			body = append(body, line)
		}
	}
	if s.path == "" {
		return s, fmt.Errorf("there is no request")
	}
	s.body = strings.TrimRight(strings.Join(body, "\n"), "\n")
	return s, nil
}

// write is parse's inverse.
func (f file) write() string {
	var b strings.Builder
	b.WriteString(f.head)
	for _, s := range f.steps {
		fmt.Fprintf(&b, "=== %s\n", s.title)
		for _, o := range s.options {
			fmt.Fprintf(&b, "! %s\n", o)
		}
		fmt.Fprintf(&b, "> %s %s\n", s.method, s.path)
		for _, h := range s.headers {
			fmt.Fprintf(&b, "> %s: %s\n", h[0], h[1])
		}
		if s.body != "" {
			b.WriteString(s.body + "\n")
		}
		b.WriteString("---\n" + s.want + "\n\n")
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

func (s *step) has(option string) bool { return slices.Contains(s.options, option) }

// named is the name that a part of the answer is kept under, by an option such as
// "id NAME".
func (s *step) named(part string) string {
	for _, o := range s.options {
		if name, ok := strings.CutPrefix(o, part+" "); ok {
			return name
		}
	}
	return ""
}

// expand replaces {{repeat N x}}, {{index}}, the last X-Consul-Index, and {{NAME}}
// for what earlier answers gave.
func expand(text string, known map[string]string) string {
	for name, value := range known {
		text = strings.ReplaceAll(text, "{{"+name+"}}", value)
	}
	return repeat.ReplaceAllStringFunc(text, func(m string) string {
		parts := repeat.FindStringSubmatch(m)
		n, _ := strconv.Atoi(parts[1])
		return strings.Repeat(parts[2], n)
	})
}

var repeat = regexp.MustCompile(`\{\{repeat (\d+) ([^}]*)\}\}`)

// show writes an answer as a golden file has it, with what changes from run to
// run masked.
func show(s *step, status int, header http.Header, body []byte) string {
	var b strings.Builder
	fmt.Fprintf(&b, "< %d\n", status)
	var lines []string
	for name, values := range header {
		if name == "Date" || name == "Content-Length" || name == "Connection" {
			continue
		}
		for _, v := range values {
			switch name {
			case "X-Consul-Index":
				v = "<index>"
			case "X-Consul-Contenthash":
				v = "<hash>"
			}
			lines = append(lines, fmt.Sprintf("< %s: %s\n", name, mask(v)))
		}
	}
	slices.Sort(lines)
	b.WriteString(strings.Join(lines, ""))
	b.WriteString(showBody(s, header.Get("Content-Type"), body))
	return strings.TrimRight(b.String(), "\n")
}

func showBody(s *step, kind string, body []byte) string {
	switch {
	case s.has("body skip"):
		return ""
	case s.has("body lines"):
		return fmt.Sprintf("<%v lines>", bytes.Count(body, []byte("\n")) > 0)
	}
	var v any
	if !strings.Contains(kind, "json") || json.Unmarshal(body, &v) != nil {
		return mask(string(body))
	}
	if object, ok := v.(map[string]any); ok && s.has("body keys") {
		keys := []string{}
		for k := range object {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		return "<keys> " + strings.Join(keys, " ")
	}
	if s.has("body as is") || len(body) < 100 {
		return mask(string(body))
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, body, "", "  "); err != nil {
		return mask(string(body))
	}
	return mask(indented.String())
}

var masks = []struct {
	what *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`("(?:CreateIndex|ModifyIndex|Index|Ltime|LTime)": ?)\d+`), `$1"<index>"`},
	{regexp.MustCompile(`("Digest": ?)"[0-9a-f]+"`), `$1"<digest>"`},
	{regexp.MustCompile(`("ContentHash": ?)"[0-9a-f]+"`), `$1"<hash>"`},
	{regexp.MustCompile(`\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.\d]*(?:Z| ?[+-]\d\d:?\d\d)?(?: UTC)?`), "<time>"},
	{regexp.MustCompile(`\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`), "<uuid>"},
	{regexp.MustCompile(`(\b[0-9a-f]{2}:){19}[0-9a-f]{2}\b`), "<fingerprint>"},
	{regexp.MustCompile(`(modify index )\d+`), "$1<index>"},
	{regexp.MustCompile(`127\.0\.0\.1:\d{5}\b`), "127.0.0.1:<port>"},
}

// longest is the most characters of a line that a golden file shows.
const longest = 400

func mask(s string) string {
	for _, m := range masks {
		s = m.what.ReplaceAllString(s, m.with)
	}
	var out []string
	for line := range strings.SplitSeq(s, "\n") {
		if len(line) > longest {
			line = fmt.Sprintf("%s… %d more", line[:longest], len(line)-longest)
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}
