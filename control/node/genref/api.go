package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"strings"
)

const apiHead = `<!-- Generated from control/node/nodeapi by go generate ./control/node. Do not edit. -->
# The admin socket

The ` + "`lanyard`" + ` command asks the daemon over a unix socket, ` + "`/run/lanyard/node.sock`" + ` (` + "`admin.socket`" + `), that only root can
use. It speaks HTTP with JSON, so that scripts can use it too:

    curl --unix-socket /run/lanyard/node.sock http://node/v1/node/status

| request | answer |
|---|---|
| ` + "`GET /v1/node/status`" + ` | Status |
| ` + "`GET /v1/node/drops?webspace=NAME`" + ` | a stream of Drop, one JSON object per line; an empty line now and then shows that it lives. Without webspace: all |
| ` + "`POST /v1/node/resync`" + ` | looks at LXD again, applies, and answers with a SyncResult |
| ` + "`GET /v1/node/wakes?webspace=W&before=ID&limit=N`" + ` | WakePage: wakes and sleeps older than the one with that id. W is a name or a uid; without it: all |
| ` + "`GET /v1/node/awake?webspace=W`" + ` | AwakeList: what keeps a webspace awake; without it: all |
| ` + "`GET /v1/node/woken`" + ` | Woken: how often each webspace was woken |

The last three are what nodes of an LXD cluster ask each other, over HTTPS with the cluster's own certificate (` + "`peers.port`" + `): there wakes and
awake of one webspace only, by its uid.

Any status but 200 carries an Error as ` + "`application/problem+json`" + `. Its codes:

| code | meaning |
|---|---|
`

// apiReference is docs/reference/admin-api.md, from the sources in the folder of package nodeapi: the types and their
// comments are the only place where the API is written down.
func apiReference(folder string) (string, error) {
	var b strings.Builder
	b.WriteString(apiHead)
	files := token.NewFileSet()
	errors, err := parser.ParseFile(files, folder+"/error.go", nil, parser.ParseComments)
	if err != nil {
		return "", err
	}
	types, err := parser.ParseFile(files, folder+"/types.go", nil, parser.ParseComments)
	if err != nil {
		return "", err
	}
	for _, d := range errors.Decls {
		if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.CONST {
			for _, s := range g.Specs {
				v := s.(*ast.ValueSpec)
				value, ok := v.Values[0].(*ast.BasicLit)
				if !ok {
					return "", fmt.Errorf("%s is no plain text", v.Names[0])
				}
				meaning := words(v.Comment)
				if meaning == "" {
					meaning = strings.ReplaceAll(strings.Trim(value.Value, `"`), "-", " ")
				}
				fmt.Fprintf(&b, "| `%s` | %s |\n", strings.Trim(value.Value, `"`), meaning)
			}
		}
	}
	wakes, err := parser.ParseFile(files, folder+"/wakes.go", nil, parser.ParseComments)
	if err != nil {
		return "", err
	}
	for _, f := range []*ast.File{types, wakes, errors} {
		structs(&b, f)
	}
	return b.String(), nil
}

func structs(b *strings.Builder, f *ast.File) {
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.TYPE {
			continue
		}
		t := g.Specs[0].(*ast.TypeSpec)
		s, ok := t.Type.(*ast.StructType)
		if !ok {
			continue
		}
		fmt.Fprintf(b, "\n## %s\n%s\n\n| field | type | meaning |\n|---|---|---|\n", t.Name, words(g.Doc))
		for _, field := range s.Fields.List {
			name := field.Names[0].Name
			optional := ""
			if field.Tag != nil {
				tag, options, _ := strings.Cut(reflect.StructTag(strings.Trim(field.Tag.Value, "`")).Get("json"), ",")
				if tag == "-" {
					continue
				}
				name = tag
				if strings.HasPrefix(options, "omit") {
					optional = ", may be absent"
				}
			}
			text := words(field.Doc)
			if more := words(field.Comment); more != "" {
				text = strings.TrimSpace(text + " " + more)
			}
			fmt.Fprintf(b, "| `%s` | %s%s | %s |\n", name, typeName(field.Type), optional, text)
		}
	}
}

// typeName says in JSON's words what a Go type becomes.
func typeName(e ast.Expr) string {
	switch t := e.(type) {
	case *ast.ArrayType:
		if id, ok := t.Elt.(*ast.Ident); ok && id.Name == "byte" {
			return "base64"
		}
		return "list of " + typeName(t.Elt)
	case *ast.MapType:
		return "object, values " + typeName(t.Value)
	case *ast.SelectorExpr:
		return map[string]string{"Time": "time (RFC 3339)", "Duration": "nanoseconds", "Addr": "address", "Prefix": "prefix", "AddrPort": "address:port"}[t.Sel.Name]
	case *ast.Ident:
		switch t.Name {
		case "string":
			return "text"
		case "bool":
			return "true or false"
		case "int", "int64", "uint16", "uint32", "uint64":
			return "number"
		}
		return "[" + t.Name + "](#" + strings.ToLower(t.Name) + ")"
	}
	return "?"
}

func words(c *ast.CommentGroup) string { return strings.Join(strings.Fields(c.Text()), " ") }
