package main

import (
	"regexp"
	"strings"
)

// patterns match speech that goes around its subject. Text between quotes or backquotes
// is not matched.
var patterns = []*regexp.Regexp{
	// "who" without a noun before it, and its relatives: "that" or a noun does better.
	regexp.MustCompile(`(?i)\b(who|whom|whoever|nobody)\b`),
	// A sentence, or a clause after a colon or semicolon, that starts with a clause.
	regexp.MustCompile(`(?:^|[.:;!?] )(?:What|Whatever|Such\s+as|That\s+which)\b`),
	regexp.MustCompile(`[:;] what\b`),
	// "of what", "what is there", "what must not change", where a noun does.
	regexp.MustCompile(`(?i)\b(of|to|for|from|with|by|than|beside|besides|before|on|at|over) what\b`),
	regexp.MustCompile(`(?i)\bwhat (is|are|was|were|has|have|had|does|do|did|can|cannot|could|may|might|must|shall|should|will|would|comes|came|becomes|became|fails|failed|begins|goes|needs|stands|remains)\b`),
	regexp.MustCompile(`(?i)\bthat which\b`),
	// "says why", "tells of it".
	regexp.MustCompile(`(?i)\b(say|says|said|tell|tells|told) (of|why|which|what|how|where|who|whose)\b`),
	regexp.MustCompile(`(?i)\bha(s|ve|d) (nothing |something |anything |more |no more )?to say\b`),
	// "not … nor".
	regexp.MustCompile(`(?i)\bnothing of\b`),
	regexp.MustCompile(`(?i)\bsuch as (have|has|are|is|need|do|may|can|must)\b`),
	regexp.MustCompile(`(?i)\b(is|are|was|were) (not )?to be (had|known|seen|told|found|heard)\b`),
	regexp.MustCompile(`(?i)\bstands? (there|above|behind|beside)\b`),
	regexp.MustCompile(`(?i)\bit is (the|a|an|its|their) [^,.;:]{1,40}? that\b`),
	regexp.MustCompile(`(?i)\bdecided things\b`),
}

var (
	// opening matches a declaration's comment such as "Gate tells …".
	opening = regexp.MustCompile(`^[A-Za-z_][\w.]*(?: and [A-Za-z_]\w*)? (?:[a-z ]*, and )?(?:says?|tells?)\b`)
	nor     = regexp.MustCompile(`(?i)\bnor\b`)
	neither = regexp.MustCompile(`(?i)\bneither\b`)
	quoted  = regexp.MustCompile("``[^`]*``|`[^`]*`|\"[^\"\n]{0,80}\"|“[^”]*”|\\]\\([^)]*\\)|<[^>]*>")
)

// match returns the words of a paragraph that a pattern matches, and where they start.
func match(paragraph string) (words string, at int, ok bool) {
	plain := quoted.ReplaceAllStringFunc(paragraph, func(s string) string {
		return strings.Repeat("x", len(s))
	})
	at = -1
	note := func(loc []int) {
		if loc != nil && (at < 0 || loc[0] < at) {
			words, at = plain[loc[0]:loc[1]], loc[0]
		}
	}
	for _, p := range patterns {
		note(p.FindStringIndex(plain))
	}
	for _, loc := range nor.FindAllStringIndex(plain, -1) {
		sentence := plain[strings.LastIndex(plain[:loc[0]], ". ")+1 : loc[0]]
		if !neither.MatchString(sentence) {
			note(loc)
		}
	}
	return strings.Trim(words, ".:;!? "), at, at >= 0
}
