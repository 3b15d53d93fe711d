// Renders a chart's templates by the engine that Helm uses, Go's text/template, and those of Helm's functions that the
// chart needs: render FOLDER < {"Values": …, "Chart": …, "Release": …}; prints {file: text}.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"reflect"
	"sort"
	"strings"
	"text/template"
)

func whole(value any) int64 {
	switch number := reflect.ValueOf(value); number.Kind() {
	case reflect.Float64:
		return int64(number.Float())
	default:
		return number.Int()
	}
}

func indented(width int, text string) string {
	pad := strings.Repeat(" ", width)
	return pad + strings.ReplaceAll(text, "\n", "\n"+pad)
}

// block writes a value as YAML in block style, scalars as in JSON.
func block(value any) string {
	lines := []string{}
	entry := func(head string, inner any) {
		if kind := reflect.ValueOf(inner).Kind(); (kind == reflect.Map || kind == reflect.Slice) && reflect.ValueOf(inner).Len() > 0 {
			lines = append(lines, head, indented(2, block(inner)))
		} else {
			lines = append(lines, head+" "+block(inner))
		}
	}
	switch held := value.(type) {
	case map[string]any:
		keys := make([]string, 0, len(held))
		for key := range held {
			keys = append(keys, key)
		}
		sort.Strings(keys)
		for _, key := range keys {
			entry(key+":", held[key])
		}
	case []any:
		for _, inner := range held {
			entry("-", inner)
		}
	}
	if len(lines) > 0 {
		return strings.Join(lines, "\n")
	}
	scalar, _ := json.Marshal(value)
	return string(scalar)
}

// Arguments in Helm's order: what is piped comes last.
func functions(all *template.Template) template.FuncMap {
	return template.FuncMap{
		"include": func(name string, data any) (string, error) {
			var out bytes.Buffer
			err := all.ExecuteTemplate(&out, name, data)
			return out.String(), err
		},
		"toYaml":     block,
		"quote":      func(value any) string { return fmt.Sprintf("%q", fmt.Sprint(value)) },
		"nindent":    func(width int, text string) string { return "\n" + indented(width, text) },
		"trimSuffix": func(suffix, text string) string { return strings.TrimSuffix(text, suffix) },
		"trunc":      func(length int, text string) string { return text[:min(length, len(text))] },
		"add":        func(a, b any) int64 { return whole(a) + whole(b) },
		"max":        func(a, b any) int64 { return max(whole(a), whole(b)) },
		"default": func(fallback, value any) any {
			if truth, _ := template.IsTrue(value); truth {
				return value
			}
			return fallback
		},
		"join": func(separator string, list []any) string {
			parts := make([]string, len(list))
			for i, part := range list {
				parts[i] = fmt.Sprint(part)
			}
			return strings.Join(parts, separator)
		},
	}
}

func main() {
	var data map[string]any
	if err := json.NewDecoder(os.Stdin).Decode(&data); err != nil {
		log.Fatal(err)
	}
	all := template.New("chart").Option("missingkey=error")
	all.Funcs(functions(all))
	files, err := filepath.Glob(filepath.Join(os.Args[1], "templates", "*"))
	if err != nil {
		log.Fatal(err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			log.Fatal(err)
		}
		if _, err := all.New(filepath.Base(file)).Parse(string(content)); err != nil {
			log.Fatal(err)
		}
	}
	rendered := map[string]string{}
	for _, file := range files {
		if name := filepath.Base(file); strings.HasSuffix(name, ".yaml") {
			var out bytes.Buffer
			if err := all.ExecuteTemplate(&out, name, data); err != nil {
				log.Fatal(err)
			}
			rendered[name] = out.String()
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(rendered); err != nil {
		log.Fatal(err)
	}
}
