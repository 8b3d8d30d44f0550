package main

import (
	"regexp"
	"strings"
)

// paragraphs collects lines of prose, to match sentences that go over several lines.
type paragraphs struct {
	all []paragraph
	// The next line continues the last paragraph.
	open bool
}

// paragraph is lines joined by spaces.
type paragraph struct {
	text   string
	lines  []int
	starts []int // where each line starts in text
}

// listItem matches the marker of a list's item, or of a heading or quotation.
var listItem = regexp.MustCompile(`^(?:[-*+] |\d+[.)] |#+ |> )`)

// add adds a line of a comment. Indented lines are code.
func (p *paragraphs) add(line int, s string) {
	trimmed := strings.TrimSpace(s)
	item := listItem.MatchString(trimmed)
	indented := strings.HasPrefix(s, "\t") || strings.HasPrefix(s, "   ")
	if trimmed == "" || indented && !item && !p.inItem() {
		p.open = false
		return
	}
	p.put(line, trimmed, item)
}

// inItem reports whether the line before is of a list's item.
func (p *paragraphs) inItem() bool {
	return p.open && listItem.MatchString(p.all[len(p.all)-1].text)
}

// put adds a line of prose to the open paragraph, or begins one.
func (p *paragraphs) put(line int, s string, begin bool) {
	if !p.open || begin {
		p.all = append(p.all, paragraph{})
		p.open = true
	}
	last := &p.all[len(p.all)-1]
	if last.text != "" {
		last.text += " "
	}
	last.lines = append(last.lines, line)
	last.starts = append(last.starts, len(last.text))
	last.text += s
}

// findings returns one finding a paragraph at most. doc is whether the text is the
// comment of a declaration.
func (p *paragraphs) findings(file string, doc bool) []finding {
	var found []finding
	for i, par := range p.all {
		words, at, ok := match(par.text)
		if doc && i == 0 && opening.MatchString(par.text) {
			words, at, ok = opening.FindString(par.text), 0, true
		}
		if !ok {
			continue
		}
		line := par.lines[0]
		for k, start := range par.starts {
			if start <= at+1 {
				line = par.lines[k]
			}
		}
		found = append(found, finding{file, line, "[" + words + "] " + par.text})
	}
	return found
}

// checkMarkdown returns the findings in a Markdown file. Code blocks are skipped.
func checkMarkdown(name, source string) []finding {
	var text paragraphs
	fenced := false
	for i, s := range strings.Split(source, "\n") {
		trimmed := strings.TrimSpace(s)
		if strings.HasPrefix(trimmed, "```") {
			fenced = !fenced
			text.open = false
			continue
		}
		switch {
		case fenced:
		case trimmed == "":
			text.open = false
		case strings.HasPrefix(trimmed, "|"):
			text.put(i+1, trimmed, true)
			text.open = false
		case strings.HasPrefix(s, "    ") && !text.open:
		default:
			text.put(i+1, listItem.ReplaceAllString(trimmed, ""), listItem.MatchString(trimmed))
		}
	}
	return text.findings(name, false)
}
