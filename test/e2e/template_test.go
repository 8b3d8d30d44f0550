package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/skerryhq/skerry/test/program"
)

// everything uses what templates out there use.
const everything = `# {{ key "app/title" }}, {{ keyOrDefault "app/none" "default" }}, {{ keyExists "app/none" }}
{{ range datacenters }}dc {{ . }}
{{ end -}}
{{ range nodes }}node {{ .Node }} {{ .Address }}
{{ end -}}
{{ range services }}service {{ .Name }} {{ .Tags | join "+" }}
{{ end -}}
{{ range service "web" }}web {{ .ID }} {{ .Address }}:{{ .Port }} {{ .Tags | join "," }} {{ .ServiceMeta.zone }} {{ .Weights.Passing }}
{{ end -}}
{{ range service "blue.web|any" }}blue {{ .ID }} {{ .Status }}
{{ end -}}
{{ range $tag, $of := service "web" | byTag }}{{ $tag }}: {{ range $of }}{{ .ID }} {{ end }}
{{ end -}}
{{ range ls "app" }}ls {{ .Key }}={{ .Value }}
{{ end -}}
{{ range tree "app" }}tree {{ .Path }}={{ .Value | toUpper }}
{{ end -}}
{{ with key "app/json" | parseJSON }}{{ .a.b }} {{ . | toJSON }}{{ end }}
{{ range $name, $pairs := tree "app" | byKey }}{{ $name }}: {{ range $key, $pair := $pairs }}{{ $key }}={{ .Value }} {{ end }}
{{ end -}}
{{ scratch.Set "n" 1 }}{{ scratch.Get "n" }} {{ sprig_upper "sprig" }} {{ "a.b" | split "." | join "/" }} {{ env "SKERRY_TEST_WORD" }}
{{- with node }} {{ .Node.Node }}{{ range .Services }} {{ .Service }}:{{ .Port }}{{ end }}{{ end }}
`

// The same template makes the same bytes as with the original.
func TestTemplateAsTheOriginal(t *testing.T) {
	original := program.Build(t, "test/tools", "github.com/hashicorp/consul-template")
	a := start(t, nil)
	t.Setenv("SKERRY_TEST_WORD", "ahoy")
	t.Setenv("CONSUL_HTTP_ADDR", a.http)
	for key, value := range map[string]string{"app/title": "<Title> & more", "app/json": `{"a": {"b": [1, 2]}}`, "app/sub/x": "1", "app/sub/y": "zwei\n", "app/empty": ""} {
		if _, err := a.client().KV().Put(&api.KVPair{Key: key, Value: []byte(value)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	a.register(`{"ID": "web-1", "Name": "web", "Address": "10.0.0.1", "Port": 80, "Tags": ["blue", "a"], "Meta": {"zone": "z1"}}`,
		`{"ID": "web-2", "Name": "web", "Port": 81, "Tags": ["green"], "Weights": {"Passing": 7, "Warning": 1}}`,
		`{"ID": "web-3", "Name": "web", "Port": 82, "Tags": ["blue"], "Check": {"TTL": "1h"}}`)
	dir := t.TempDir()
	source := filepath.Join(dir, "all.ctmpl")
	if err := os.WriteFile(source, []byte(everything), 0o600); err != nil {
		t.Fatal(err)
	}
	render := func(name string, args ...string) string {
		t.Helper()
		dest := filepath.Join(dir, "out")
		if err := os.RemoveAll(dest); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), name, append(args, "-once", "-template", source+":"+dest)...)
		printed, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v", cmd, err)
		}
		data, err := os.ReadFile(dest)
		if err != nil {
			return string(printed) // with -dry
		}
		return string(data)
	}
	for _, mode := range [][]string{nil, {"-dry"}} {
		ours, theirs := render(program.Skerry(t), append([]string{"template"}, mode...)...), render(original, mode...)
		if ours != theirs || len(ours) < len(everything)/3 {
			t.Errorf("%v: we render\n%s\nand the original\n%s", mode, ours, theirs)
		}
	}

	// Both follow changes to the same end.
	for i, args := range [][]string{{program.Skerry(t), "template"}, {original}} {
		background(t, args[0], append(args[1:], "-template", fmt.Sprintf("%s:%s/follow-%d", source, dir, i))...)
	}
	a.ok("PUT", "/v1/kv/app/title", "Changed")
	a.ok("PUT", "/v1/agent/service/deregister/web-1", "")
	a.ok("PUT", "/v1/agent/check/pass/service:web-3", "")
	await(t, "both files", func() error {
		want := render(original)
		for i := range 2 {
			got, err := os.ReadFile(fmt.Sprintf("%s/follow-%d", dir, i))
			if err != nil || string(got) != want {
				return fmt.Errorf("file %d: %v\n%s\nwant\n%s", i, err, got, want)
			}
		}
		return nil
	})
}
