package show

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestTable(t *testing.T) {
	tb := NewTable("Name", "What")
	tb.Add("a", "x")
	tb.Add("long name", "two\nlines\x1b[31m")
	tb.Add("b", "")
	var b strings.Builder
	if err := tb.Write(&b, "none"); err != nil {
		t.Fatal(err)
	}
	want := "Name       What\na          x\nlong name  two lines [31m\nb\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	b.Reset()
	if err := NewTable("Name").Write(&b, "none"); err != nil || b.String() != "none\n" {
		t.Errorf("an empty table: %q, %v", b.String(), err)
	}
}

func TestLine(t *testing.T) {
	for given, want := range map[string]string{"plain": "plain", "\x1b]0;x\a": "]0;x", "a\r\nb": "a  b", "ä ö": "ä ö", "\u202eevil": "evil"} {
		if got := Line(given); got != want {
			t.Errorf("%q: got %q, want %q", given, got, want)
		}
	}
}

func TestCut(t *testing.T) {
	if got := Cut("äöüäöü", 5); got != "äö..." {
		t.Errorf("got %q", got)
	}
	if got := Cut("äöüäö", 5); got != "äöüäö" {
		t.Errorf("got %q", got)
	}
}

func TestFormat(t *testing.T) {
	for given, want := range map[string]string{"": "table", "json": "json", "pretty": "table", "table": "table", "xml": ""} {
		var format string
		cmd := &cobra.Command{Run: func(*cobra.Command, []string) {}, SilenceErrors: true, SilenceUsage: true}
		FormatFlag(cmd, &format)
		cmd.SetArgs(nil)
		if given != "" {
			cmd.SetArgs([]string{"--format", given})
		} else {
			cmd.SetArgs([]string{})
		}
		err := cmd.Execute()
		if (err != nil) != (want == "") || err == nil && format != want {
			t.Errorf("%q: got %q, %v", given, format, err)
		}
	}
}

func TestJSON(t *testing.T) {
	var b strings.Builder
	if err := JSON(&b, map[string]string{"a": "<b>"}); err != nil || b.String() != "{\n  \"a\": \"<b>\"\n}\n" {
		t.Errorf("got %q, %v", b.String(), err)
	}
}
