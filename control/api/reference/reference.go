// Package reference writes docs/reference/api.md from the API's document and its codes of failure.
package reference

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/lanyard-project/lanyard/control/api"
)

// document is what of the OpenAPI document the page shows.
type document struct {
	Tags  []struct{ Name, Description string }
	Paths map[string]map[string]operation

	Components struct {
		Schemas map[string]schema
	}
}

type operation struct {
	Summary, Description string
	OperationID          string `yaml:"operationId"`
	Tags                 []string
	Security             []map[string][]string
	Parameters           []struct {
		Ref         string `yaml:"$ref"`
		Name, In    string
		Description string
	}
	RequestBody struct{ Content map[string]media } `yaml:"requestBody"`
	Responses   map[string]struct {
		Content map[string]media
	}
}

type media struct{ Schema schema }

type schema struct {
	Ref                  string `yaml:"$ref"`
	Type                 string
	Format               string
	Description          string
	Enum                 []string
	Required             []string
	Default              any
	Properties           map[string]schema
	Items                *schema
	AdditionalProperties *schema `yaml:"additionalProperties"`
}

var methods = []string{"get", "post", "put", "patch", "delete"}

// API is docs/reference/api.md.
func API() (string, error) {
	var d document
	if err := yaml.Unmarshal(api.Document, &d); err != nil {
		return "", fmt.Errorf("read openapi.yaml: %w", err)
	}
	var b strings.Builder
	b.WriteString(`<!-- Generated from control/api by go generate ./control/api/... Do not edit. -->
# The API

The source of this page is ` + "`control/api/openapi.yaml`" + ` (OpenAPI 3.1), which the daemon serves at ` + "`/static/api.yaml`" + `, and for reading and
trying at ` + "`/swagger/`" + `. All paths are below ` + "`/v1`" + `. ` + "`{username}`" + ` is ` + "`self`" + `, the name of a member, or ` + "`id:<uid>`" + `; others than one's own are
for admins, and to everybody else they all look the same, whether they exist or not. See
[how to use it](../how-to/use-the-api.md) for tokens, websockets and events.

`)
	for _, tag := range d.Tags {
		fmt.Fprintf(&b, "## %s\n%s.\n\n| operation | who | body | answer |\n|---|---|---|---|\n", tag.Name, tag.Description)
		for _, path := range sorted(d.Paths) {
			for _, method := range methods {
				o, ok := d.Paths[path][method]
				if ok && slices.Contains(o.Tags, tag.Name) {
					o.row(&b, method, path)
				}
			}
		}
		b.WriteString("\n")
		for _, path := range sorted(d.Paths) {
			for _, method := range methods {
				if o, ok := d.Paths[path][method]; ok && slices.Contains(o.Tags, tag.Name) {
					o.notes(&b, method, path)
				}
			}
		}
	}
	b.WriteString("## Bodies\nMembers that are not required may be left out.\n\n")
	for _, name := range sorted(d.Components.Schemas) {
		d.Components.Schemas[name].section(&b, name)
	}
	failures(&b)
	return b.String(), nil
}

func (o operation) row(b *strings.Builder, method, path string) {
	fmt.Fprintf(b, "| **`%s %s`**<br>%s | %s | %s | %s |\n", strings.ToUpper(method), path, o.Summary, o.who(), content(o.RequestBody.Content), o.answer())
}

func (o operation) who() string {
	switch {
	case len(o.Security) == 0:
		return "anybody"
	case len(o.Security) == 1 && o.Security[0]["jwt"] == nil:
		return "admins"
	}
	return "members"
}

func (o operation) answer() string {
	var parts []string
	for _, code := range sorted(o.Responses) {
		if strings.HasPrefix(code, "2") {
			parts = append(parts, strings.TrimSpace(code+" "+content(o.Responses[code].Content)))
		}
	}
	if len(parts) == 0 {
		return "101, a websocket"
	}
	return strings.Join(parts, "<br>")
}

func (o operation) notes(b *strings.Builder, method, path string) {
	var lines []string
	if text := flat(o.Description); text != "" {
		lines = append(lines, text+".")
	}
	for _, p := range o.Parameters {
		if p.In == "query" && p.Description != "" {
			lines = append(lines, fmt.Sprintf("`%s`: %s.", p.Name, flat(p.Description)))
		}
	}
	if len(lines) > 0 {
		fmt.Fprintf(b, "`%s %s`: %s\n\n", strings.ToUpper(method), path, strings.ReplaceAll(strings.Join(lines, " "), "..", "."))
	}
}

func content(all map[string]media) string {
	var parts []string
	for _, kind := range sorted(all) {
		s := all[kind].Schema
		switch {
		case kind == "application/json":
			parts = append(parts, s.kind())
		default:
			parts = append(parts, "`"+kind+"`")
		}
	}
	return strings.Join(parts, " or ")
}

func (s schema) kind() string {
	switch {
	case s.Ref != "":
		name := s.Ref[strings.LastIndexByte(s.Ref, '/')+1:]
		return fmt.Sprintf("[%s](#%s)", name, strings.ToLower(name))
	case s.Items != nil:
		return "list of " + s.Items.kind()
	case s.AdditionalProperties != nil:
		return "object of " + s.AdditionalProperties.kind()
	case s.Format == "date-time":
		return "time"
	case s.Type == "":
		return "object"
	}
	return s.Type
}

func (s schema) section(b *strings.Builder, name string) {
	fmt.Fprintf(b, "### %s\n", name)
	if text := flat(s.Description); text != "" {
		b.WriteString(text + "\n\n")
	}
	if len(s.Properties) == 0 {
		fmt.Fprintf(b, "A %s", s.kind())
		if len(s.Enum) > 0 {
			fmt.Fprintf(b, ": `%s`", strings.Join(s.Enum, "`, `"))
		}
		b.WriteString(".\n\n")
		return
	}
	b.WriteString("| member | kind | meaning |\n|---|---|---|\n")
	for _, p := range sorted(s.Properties) {
		x := s.Properties[p]
		text := flat(x.Description)
		if x.Default != nil {
			text = strings.TrimSpace(text + fmt.Sprintf(" Default: `%v`.", x.Default))
		}
		need := ""
		if slices.Contains(s.Required, p) {
			need = ", required"
		}
		fmt.Fprintf(b, "| `%s` | %s%s | %s |\n", p, x.kind(), need, text)
	}
	b.WriteString("\n")
}

func failures(b *strings.Builder) {
	b.WriteString(`## Failures
Every failure is ` + "`application/problem+json`" + `, an [Error](#error), with the number of the request, which is also in the daemon's log. ` + "`code`" + `
is stable; ` + "`message`" + ` is the one line that the seed system's clients print. 429, 503, and 500 for what may pass, carry ` + "`Retry-After`" + `.

| code | status | what it means | what to do |
|---|---|---|---|
`)
	for _, c := range api.Codes() {
		fmt.Fprintf(b, "| `%s` | %d | %s | %s |\n", c.Name, c.Status, c.Title, c.Next)
	}
}

func flat(text string) string {
	return strings.ReplaceAll(strings.TrimSuffix(strings.Join(strings.Fields(text), " "), "."), "|", "\\|")
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
