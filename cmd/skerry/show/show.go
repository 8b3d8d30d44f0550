// Package show prints the results of commands: tables for people, JSON for programs.
package show

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/spf13/cobra"
)

// FormatFlag adds -format to a command.
func FormatFlag(cmd *cobra.Command, format *string) {
	*format = "table"
	cmd.Flags().Var((*formatValue)(format), "format", "`table` for people, json for programs")
}

// formatValue refuses other values; "pretty" is Consul's word for a table.
type formatValue string

func (f *formatValue) String() string { return string(*f) }
func (f *formatValue) Type() string   { return "format" }

func (f *formatValue) Set(s string) error {
	switch s {
	case "table", "json":
		*f = formatValue(s)
	case "pretty":
		*f = "table"
	default:
		return fmt.Errorf("want table or json")
	}
	return nil
}

// Table is lines of columns for people.
type Table struct {
	Head []string
	rows [][]string
}

// NewTable returns an empty table with these headings.
func NewTable(head ...string) *Table { return &Table{Head: head} }

// Add adds a row.
func (t *Table) Add(cells ...string) { t.rows = append(t.rows, cells) }

// Write prints the table; without rows it prints only empty.
func (t *Table) Write(w io.Writer, empty string) error {
	if len(t.rows) == 0 {
		_, err := fmt.Fprintln(w, empty)
		return err
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, strings.Join(t.Head, "\t"))
	for _, row := range t.rows {
		for i, cell := range row {
			row[i] = Line(cell)
		}
		fmt.Fprintln(tw, strings.TrimRight(strings.Join(row, "\t"), "\t"))
	}
	return tw.Flush()
}

// Line makes a text one line that does no harm to a terminal: names and outputs are
// untrusted.
func Line(s string) string {
	if strings.IndexFunc(s, notPlain) < 0 {
		return s
	}
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if notPlain(r) {
			return ' '
		}
		return r
	}, s))
}

func notPlain(r rune) bool { return !unicode.IsPrint(r) }

// Cut shortens a text to n characters.
func Cut(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-3]) + "..."
	}
	return s
}

// JSON prints v for programs.
func JSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
