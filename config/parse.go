package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/hcl/ast"
	hclparser "github.com/hashicorp/hcl/hcl/parser"
	"github.com/hashicorp/hcl/hcl/scanner"
	"github.com/hashicorp/hcl/hcl/token"
)

// maxFileSize bounds a file, in bytes; its tree takes a multiple of that.
const maxFileSize = 16 << 20

var errDepth = fmt.Errorf("values are nested more than %d deep", maxDepth)

// parse reads a file as JSON or HCL: by its name's ending, else by its beginning.
func parse(name string, data []byte) (*value, error) {
	if len(data) > maxFileSize {
		return nil, fmt.Errorf("%s: the file is larger than %d MiB", name, maxFileSize>>20)
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if len(bytes.TrimSpace(data)) == 0 {
		return &value{kind: object}, nil // a file that will be written later
	}
	isJSON := strings.HasPrefix(string(bytes.TrimSpace(data)), "{")
	switch filepath.Ext(name) {
	case ".json":
		isJSON = true
	case ".hcl":
		isJSON = false
	}
	if isJSON {
		return parseJSON(name, data)
	}
	return parseHCL(name, data)
}

func parseJSON(name string, data []byte) (*value, error) {
	p := jsonParser{data: data, dec: json.NewDecoder(bytes.NewReader(data))}
	p.dec.UseNumber()
	v, err := p.value(0)
	if err == nil {
		if v.kind != object {
			err = fmt.Errorf("want an object, found %s", v.found())
		} else if _, more := p.dec.Token(); more != io.EOF {
			err = errors.New("there is more after the end of the object")
		}
	}
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("%s:%d: %w", name, p.line(), err)
	}
	return v, nil
}

// jsonParser keeps the line numbers, which encoding/json does not report.
type jsonParser struct {
	data  []byte
	dec   *json.Decoder
	at    int // how far lines are counted
	lines int
}

func (p *jsonParser) line() int {
	end := min(int(p.dec.InputOffset()), len(p.data))
	p.lines += bytes.Count(p.data[p.at:end], []byte("\n"))
	p.at = end
	return p.lines + 1
}

func (p *jsonParser) value(depth int) (*value, error) {
	if depth > maxDepth {
		return nil, errDepth
	}
	t, err := p.dec.Token()
	if err != nil {
		return nil, err
	}
	v := &value{line: p.line()}
	switch t := t.(type) {
	case string:
		v.kind, v.text = text, t
	case json.Number:
		v.kind, v.text = number, t.String()
	case bool:
		v.kind, v.text = boolean, strconv.FormatBool(t)
	case json.Delim:
		return v, p.inside(v, t, depth)
	}
	return v, nil
}

// inside reads a list or an object up to its end.
func (p *jsonParser) inside(v *value, open json.Delim, depth int) error {
	v.kind = list
	if open == '{' {
		v.kind = object
	}
	for p.dec.More() {
		var key string
		if v.kind == object {
			t, err := p.dec.Token()
			if err != nil {
				return err
			}
			key = t.(string) // the decoder allows nothing else here
		}
		line := p.line()
		x, err := p.value(depth + 1)
		if err != nil {
			return err
		}
		if v.kind == object {
			v.set(key, line, x)
		} else {
			v.items = append(v.items, x)
		}
	}
	_, err := p.dec.Token()
	return err
}

func parseHCL(name string, data []byte) (v *value, err error) {
	defer func() {
		// It panics on some malformed literals; a broken file must not end a reload so.
		if r := recover(); r != nil {
			v, err = nil, fmt.Errorf("%s: malformed HCL: %v", name, r)
		}
	}()
	if err := prescan(data); err != nil {
		return nil, fmt.Errorf("%s:%w", name, err)
	}
	file, err := hclparser.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	root, ok := file.Node.(*ast.ObjectList)
	if !ok {
		return nil, fmt.Errorf("%s: want keys and values", name)
	}
	v = &value{kind: object, line: 1}
	if err := fromHCL(v, root); err != nil {
		return nil, fmt.Errorf("%s:%w", name, err)
	}
	return v, nil
}

// prescan finds errors that the parser lets pass: it descends once per bracket without a
// limit, and drops a last key whose value was cut off.
func prescan(data []byte) error {
	s := scanner.New(data)
	s.Error = func(token.Pos, string) {} // the parser reports it
	depth := 0
	for last := (token.Token{}); ; {
		t := s.Scan()
		switch t.Type {
		case token.LBRACE, token.LBRACK:
			if depth++; depth > maxDepth {
				return fmt.Errorf("%d: %w", t.Pos.Line, errDepth)
			}
		case token.RBRACE, token.RBRACK:
			depth--
		case token.COMMENT:
			continue
		case token.EOF, token.ILLEGAL:
			if last.Type == token.ASSIGN {
				return fmt.Errorf("%d: the value after = is missing", last.Pos.Line)
			}
			return nil
		}
		last = t
	}
}

func fromHCL(into *value, items *ast.ObjectList) error {
	for _, item := range items.Items {
		v, err := hclValue(item.Val)
		if err != nil {
			return err
		}
		if len(item.Keys) == 0 {
			return fmt.Errorf("%d: a value without a key", item.Pos().Line)
		}
		// service "web" { } is service { web { } }.
		for i := len(item.Keys) - 1; i > 0; i-- {
			outer := &value{kind: object, line: item.Pos().Line}
			outer.set(hclKey(item.Keys[i]), item.Pos().Line, v)
			v = outer
		}
		into.set(hclKey(item.Keys[0]), item.Pos().Line, v)
	}
	return nil
}

func hclKey(k *ast.ObjectKey) string {
	s, _ := k.Token.Value().(string)
	return s
}

func hclValue(n ast.Node) (*value, error) {
	switch n := n.(type) {
	case *ast.LiteralType:
		return hclLiteral(n.Token)
	case *ast.ListType:
		v := &value{kind: list, line: n.Lbrack.Line}
		for _, i := range n.List {
			x, err := hclValue(i)
			if err != nil {
				return nil, err
			}
			v.items = append(v.items, x)
		}
		return v, nil
	case *ast.ObjectType:
		v := &value{kind: object, line: n.Lbrace.Line}
		return v, fromHCL(v, n.List)
	}
	return nil, fmt.Errorf("%d: want a value", n.Pos().Line)
}

func hclLiteral(t token.Token) (*value, error) {
	v := &value{line: t.Pos.Line, text: t.Text}
	switch t.Type {
	case token.BOOL:
		v.kind = boolean
	case token.NUMBER, token.FLOAT:
		v.kind = number
		if _, err := strconv.ParseFloat(t.Text, 64); err != nil && !errors.Is(err, strconv.ErrRange) {
			if _, err := strconv.ParseInt(t.Text, 0, 64); err != nil {
				return nil, fmt.Errorf("%d: %s is not a number", t.Pos.Line, t.Text)
			}
		}
	case token.STRING, token.HEREDOC:
		v.kind = text
		v.text, _ = t.Value().(string)
	default:
		return nil, fmt.Errorf("%d: want a value, found %s", t.Pos.Line, t.Text)
	}
	return v, nil
}
