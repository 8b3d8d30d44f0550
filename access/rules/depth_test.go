package rules

import (
	"strings"
	"testing"
	"time"
)

// Nesting is found whatever stands before it: the parser descends once for each
// bracket, and 250,000 of them took seven seconds.
func TestDepth(t *testing.T) {
	for name, text := range map[string]string{
		"objects":            strings.Repeat("a{", 250_000),
		"lists":              "a=" + strings.Repeat("[", 250_000),
		"after a comment":    `/*"*/` + strings.Repeat("a{", 250_000),
		"after a line":       "# \"\n" + strings.Repeat("a{", 250_000),
		"after a heredoc":    "a = <<EOF\n\"\nEOF\n" + strings.Repeat("a{", 250_000),
		"JSON":               "{" + strings.Repeat(`"a":{`, 100_000),
		"JSON lists":         `{"a":` + strings.Repeat("[", 250_000),
		"JSON, broken first": "{\"x\":\x01\"" + strings.Repeat(`"a":{`, 100_000),
		"one too deep":       strings.Repeat("a{", maxDepth+1) + strings.Repeat("}", maxDepth+1),
	} {
		t.Run(name, func(t *testing.T) {
			done := make(chan error, 1)
			go func() { _, err := Parse(text); done <- err }()
			select {
			case err := <-done:
				if err == nil {
					t.Error("it was accepted")
				}
			case <-time.After(30 * time.Second):
				t.Fatal("it is still being parsed")
			}
		})
	}
	if _, err := Parse(`key_prefix "{{{{[[[[" { policy = "read" } # ` + strings.Repeat("{", 100)); err != nil {
		t.Errorf("brackets in a name and a comment: %v", err)
	}
}
