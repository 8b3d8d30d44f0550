package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAFaultOfOneSystem(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module sample\n\ngo 1.26\n",
		"main.go": `package main

import "syscall"

func main() {
	var fs syscall.Statfs_t
	_ = syscall.Statfs("/", &fs)
}
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for system, compiles := range map[string]bool{"linux/amd64": true, "freebsd/amd64": true, "windows/amd64": false} {
		faults, err := check(dir, ".", system)
		if err != nil {
			t.Fatal(err)
		}
		if (len(faults) == 0) != compiles {
			t.Errorf("%s: %v", system, faults)
		}
		for _, f := range faults {
			if !strings.Contains(f.Error(), "Statfs") {
				t.Errorf("%s: %v", system, f)
			}
		}
	}
}
