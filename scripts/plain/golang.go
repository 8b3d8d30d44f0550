package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// directive matches comments for tools.
var directive = regexp.MustCompile(`^//(?:[a-z]+:|nolint|line )`)

// checkGo returns the findings in a Go file.
func checkGo(name string, source []byte) ([]finding, error) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, name, source, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	if ast.IsGenerated(file) {
		return nil, nil
	}
	docs := map[*ast.CommentGroup]bool{}
	for _, decl := range file.Decls {
		for _, doc := range docsOf(decl) {
			docs[doc] = true
		}
	}
	var found []finding
	for _, group := range file.Comments {
		var text paragraphs
		for _, comment := range group.List {
			line := files.Position(comment.Pos()).Line
			if directive.MatchString(comment.Text) {
				continue
			}
			for i, s := range strings.Split(strings.TrimSuffix(strings.TrimLeft(comment.Text, "/*"), "*/"), "\n") {
				text.add(line+i, s)
			}
		}
		found = append(found, text.findings(name, docs[group])...)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		lit, ok := n.(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			return true
		}
		if s, err := strconv.Unquote(lit.Value); err == nil && isSentence(s) {
			var text paragraphs
			for i, l := range strings.Split(s, "\n") {
				text.add(files.Position(lit.Pos()).Line+i, l)
			}
			found = append(found, text.findings(name, false)...)
		}
		return true
	})
	if file.Name.Name != "main" {
		for _, decl := range file.Decls {
			for _, id := range undocumented(decl) {
				found = append(found, finding{name, files.Position(id.Pos()).Line, id.Name + " has no comment"})
			}
		}
	}
	slices.SortStableFunc(found, func(a, b finding) int { return a.line - b.line })
	return found, nil
}

// isSentence reports whether a string is prose: a message, or a text of --help.
func isSentence(s string) bool { return strings.Count(s, " ") >= 3 }

// docsOf returns the comments of the names in a declaration.
func docsOf(decl ast.Decl) []*ast.CommentGroup {
	switch decl := decl.(type) {
	case *ast.FuncDecl:
		return []*ast.CommentGroup{decl.Doc}
	case *ast.GenDecl:
		docs := []*ast.CommentGroup{decl.Doc}
		for _, spec := range decl.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				docs = append(docs, spec.Doc)
				ast.Inspect(spec, func(n ast.Node) bool {
					if field, ok := n.(*ast.Field); ok {
						docs = append(docs, field.Doc)
					}
					return true
				})
			case *ast.ValueSpec:
				docs = append(docs, spec.Doc)
			}
		}
		return docs
	}
	return nil
}

// undocumented returns the exported names that a declaration leaves without a comment.
func undocumented(decl ast.Decl) []*ast.Ident {
	var names []*ast.Ident
	switch decl := decl.(type) {
	case *ast.FuncDecl:
		if decl.Doc == nil && decl.Name.IsExported() && exportedReceiver(decl) {
			names = append(names, decl.Name)
		}
	case *ast.GenDecl:
		if decl.Doc != nil {
			return nil
		}
		for _, spec := range decl.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				if spec.Doc == nil && spec.Comment == nil && spec.Name.IsExported() {
					names = append(names, spec.Name)
				}
			case *ast.ValueSpec:
				for _, id := range spec.Names {
					if spec.Doc == nil && spec.Comment == nil && id.IsExported() {
						names = append(names, id)
					}
				}
			}
		}
	}
	return names
}

// exportedReceiver reports whether fn is no method, or one of an exported type.
func exportedReceiver(fn *ast.FuncDecl) bool {
	if fn.Recv == nil {
		return true
	}
	expr := fn.Recv.List[0].Type
	for {
		switch e := expr.(type) {
		case *ast.StarExpr:
			expr = e.X
		case *ast.IndexExpr:
			expr = e.X
		case *ast.IndexListExpr:
			expr = e.X
		case *ast.Ident:
			return e.IsExported()
		default:
			return false
		}
	}
}

// undocumentedPackages returns a finding for each package without a package comment.
func undocumentedPackages(files []string) []finding {
	var found []finding
	documented, first := map[string]bool{}, map[string]string{}
	var folders []string
	for _, name := range files {
		if filepath.Ext(name) != ".go" {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil || ast.IsGenerated(file) {
			continue
		}
		folder := filepath.Dir(name)
		if first[folder] == "" {
			first[folder] = name
			folders = append(folders, folder)
		}
		documented[folder] = documented[folder] || file.Doc != nil
	}
	for _, folder := range folders {
		if !documented[folder] {
			found = append(found, finding{first[folder], 1, "the package has no comment"})
		}
	}
	return found
}
