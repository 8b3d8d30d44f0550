package watch

import (
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	tests := []struct {
		name  string
		watch map[string]any
		args  []string
		url   string
		err   string // part of the error
	}{
		{"args", map[string]any{"type": "service", "service": "web", "args": []any{"a", "b"}}, []string{"a", "b"}, "", ""},
		{"handler", map[string]any{"type": "nodes", "handler": "a | b"}, []string{"/bin/sh", "-c", "a | b"}, "", ""},
		{"http", map[string]any{
			"type": "services", "handler_type": "http", "http_handler_config": map[string]any{
				"path": "http://127.0.0.1:1/x", "method": "PUT", "timeout": "3s", "header": map[string]any{"X-A": []any{"b"}},
			},
		}, nil, "http://127.0.0.1:1/x", ""},
		{"nobody to tell", map[string]any{"type": "services"}, nil, "", "args"},
		{"two to tell", map[string]any{"type": "services", "handler": "a", "args": []any{"b"}}, nil, "", "exclude"},
		{"a word that is none", map[string]any{"type": "services", "args": []any{1}}, nil, "", "list of strings"},
		{"another kind", map[string]any{"type": "services", "handler_type": "mail", "args": []any{"a"}}, nil, "", `"mail"`},
		{"http without its URL", map[string]any{"type": "services", "handler_type": "http"}, nil, "", "http_handler_config"},
		{"http with a program", map[string]any{
			"type": "services", "handler_type": "http", "args": []any{"a"}, "http_handler_config": map[string]any{"path": "x"},
		}, nil, "", "no program"},
		{"another type", map[string]any{"type": "weather", "args": []any{"a"}}, nil, "", "weather"},
		{"an unknown parameter", map[string]any{"type": "services", "args": []any{"a"}, "speed": "x"}, nil, "", "speed"},
		{"without service", map[string]any{"type": "service", "args": []any{"a"}}, nil, "", "service"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Parse([]map[string]any{tt.watch})
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) || !strings.HasPrefix(err.Error(), "watches[0]: ") {
					t.Errorf("%v, want an error with %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got[0].args, tt.args) || (got[0].url == nil) != (tt.url == "") || got[0].url != nil && got[0].url.Path != tt.url {
				t.Errorf("%+v", got[0])
			}
			if tt.watch["type"] == nil {
				t.Error("the definition was written to")
			}
		})
	}
}
