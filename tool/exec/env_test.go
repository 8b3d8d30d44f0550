package exec

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"
)

func pairs(kv ...string) (out api.KVPairs) {
	for i := 0; i < len(kv); i += 2 {
		out = append(out, &api.KVPair{Key: kv[i], Value: []byte(kv[i+1])})
	}
	return out
}

func TestVariables(t *testing.T) {
	all := pairs("app/", "", "app/port", "80", "app/db/user-name", "me", "app/sub/", "", "app/a.b", "1", "app/x=y", "2", "app/bin", "a\x00b")
	tests := []struct {
		n       naming
		want    string
		refused string
	}{
		{naming{}, "a.b=1 db/user-name=me port=80", "app/x=y app/bin"},
		{naming{sanitize: true}, "a_b=1 db_user_name=me port=80 x_y=2", "app/bin"},
		{naming{upcase: true}, "A.B=1 DB/USER-NAME=me PORT=80", "app/x=y app/bin"},
		{naming{true, true}, "A_B=1 DB_USER_NAME=me PORT=80 X_Y=2", "app/bin"},
	}
	for _, tt := range tests {
		vars, refused := tt.n.variables("app/", all)
		if got := strings.Join(environment(nil, vars), " "); got != tt.want {
			t.Errorf("%+v: %s, want %s", tt.n, got, tt.want)
		}
		if got := strings.Join(refused, " "); got != tt.refused {
			t.Errorf("%+v: refused %s, want %s", tt.n, got, tt.refused)
		}
	}
}

func TestEnvironment(t *testing.T) {
	got := environment([]string{"A=old", "B=b", "ODD"}, map[string]string{"A": "new", "C": ""})
	if want := []string{"B=b", "ODD", "A=new", "C="}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestParsePrefix(t *testing.T) {
	for s, want := range map[string]Prefix{
		"app/config": {"app/config/", ""}, "/app/config/": {"app/config/", ""}, "": {}, "/": {}, "app@dc2": {"app/", "dc2"}, "@dc2": {"", "dc2"},
	} {
		if got := ParsePrefix(s); got != want {
			t.Errorf("%q: %+v, want %+v", s, got, want)
		}
	}
}

func FuzzVariables(f *testing.F) {
	f.Add("app/a/b", "v", true, false)
	f.Add("app/=", "\x00", false, true)
	f.Fuzz(func(t *testing.T, key, value string, sanitize, upcase bool) {
		vars, refused := naming{sanitize, upcase}.variables("app/", pairs(key, value))
		if len(vars)+len(refused) > 1 {
			t.Fatalf("one key made %v and %v", vars, refused)
		}
		for name, v := range vars {
			if name == "" || strings.ContainsAny(name, "=\x00") || strings.Contains(v, "\x00") {
				t.Errorf("%s cannot be in an environment", fmt.Sprintf("%q=%q", name, v))
			}
			if sanitize && unfit.MatchString(name) {
				t.Errorf("%q is not sanitized", name)
			}
		}
	})
}
