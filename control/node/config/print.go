package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// YAML writes the configuration as a file that gives the same again. With comments, every key is explained.
func (c Config) YAML(comments bool) []byte {
	var b strings.Builder
	v := reflect.ValueOf(c)
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if i > 0 && comments {
			b.WriteString("\n")
		}
		if comments {
			fmt.Fprintf(&b, "# %s\n", field.Tag.Get("doc"))
		}
		fmt.Fprintf(&b, "%s:\n", field.Tag.Get("koanf"))
		for k := range v.Field(i).NumField() {
			f := v.Field(i).Type().Field(k)
			if comments {
				fmt.Fprintf(&b, "  # %s\n", f.Tag.Get("doc"))
			}
			fmt.Fprintf(&b, "  %s: %s\n", f.Tag.Get("koanf"), yamlValue(v.Field(i).Field(k)))
		}
	}
	return []byte(b.String())
}

// yamlValue writes a value in YAML's flow style; every text is quoted, so that none is taken for something else.
func yamlValue(v reflect.Value) string {
	if v.Kind() == reflect.Slice && v.Type() != reflect.TypeFor[MAC]() {
		var parts []string
		for i := range v.Len() {
			parts = append(parts, yamlValue(v.Index(i)))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	if p, ok := v.Interface().(Peer); ok {
		var parts []string
		r := reflect.ValueOf(p)
		for i := range r.NumField() {
			if !r.Field(i).IsZero() {
				parts = append(parts, r.Type().Field(i).Tag.Get("koanf")+": "+yamlValue(r.Field(i)))
			}
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	switch v.Kind() {
	case reflect.Bool, reflect.Int, reflect.Uint16, reflect.Uint32:
		return fmt.Sprint(v.Interface())
	case reflect.Int64:
		return shortDuration(time.Duration(v.Int()))
	}
	return strconv.Quote(textOf(v))
}
