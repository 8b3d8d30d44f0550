package gozero

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/skerryhq/skerry/client"
)

func equal(a, b any) bool { return reflect.DeepEqual(a, b) }

// FuzzParseTarget: what is taken can be opened and names a service.
func FuzzParseTarget(f *testing.F) {
	for _, target := range []string{
		"direct:///10.0.0.1:80,[::1]:2", "etcd:///h1:1,h2:2?key=%2Fk", "etcd://h1:1,h2:2/a/b", "discov://h/k", "k8s://ns/web:http?server=http://h:1", "k8s:///web",
	} {
		f.Add(target)
	}
	f.Fuzz(func(t *testing.T, target string) {
		source, service, err := ParseTarget(target)
		if err != nil {
			return
		}
		l, err := client.ParseLocation(source)
		if err != nil || service == "" {
			t.Fatalf("%q becomes %q, %q: %v", target, source, service, err)
		}
		if l.User != nil {
			t.Errorf("%q has a user: %q", target, source)
		}
		if l.Scheme == "direct" {
			if _, err := client.OpenSource(source); err != nil {
				t.Error(err)
			}
		}
	})
}

// FuzzRead: whatever a file holds is read or refused; a password is in no error.
func FuzzRead(f *testing.F) {
	files, err := filepath.Glob("testdata/*.*")
	if err != nil || len(files) == 0 {
		f.Fatal("no files", err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(filepath.Ext(file), content, "Upstreams[0].Grpc")
		f.Add(filepath.Ext(file), content, "OrdersRpc")
	}
	f.Fuzz(func(t *testing.T, ext string, content []byte, path string) {
		b, err := parse(ext, content, path)
		if err != nil {
			return
		}
		c := &ClientConf{Endpoints: b.texts("Endpoints"), Target: b.text("Target"), Etcd: b.etcd()}
		if *b.err != nil {
			if c.Etcd.Pass != "" && len(c.Etcd.Pass) > 20 && strings.Contains((*b.err).Error(), c.Etcd.Pass) {
				t.Errorf("the error tells the password: %v", *b.err)
			}
			return
		}
		source, service, err := c.locate()
		if err != nil {
			return
		}
		if _, err := client.ParseLocation(source); err != nil || service == "" {
			t.Errorf("%+v becomes %q, %q: %v", c, source, service, err)
		}
	})
}

// FuzzJSON5: JSON means the same in JSON5, and what is read can be written.
func FuzzJSON5(f *testing.F) {
	f.Add(`{"a":[1,-2.5e3,"x\u00e9\n",null,true]}`)
	f.Add(`{a:'b',// c
}`)
	f.Fuzz(func(t *testing.T, text string) {
		got, err := readJSON5([]byte(text))
		if err == nil {
			if _, err := json.Marshal(got); err != nil {
				t.Errorf("%q is read as %v: %v", text, got, err)
			}
		}
		if !json.Valid([]byte(text)) || strings.Count(text, "[")+strings.Count(text, "{") > deepest {
			return
		}
		want, err2 := readJSON([]byte(text))
		if err != nil || err2 != nil || !equal(got, want) {
			t.Errorf("%q is read as %v, %v; want %v, %v", text, got, err, want, err2)
		}
	})
}
