package operator

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"
)

// A change that meets another one is made on top of that one, unless others come without end.
func TestSetConfigMeetsOtherChanges(t *testing.T) {
	others := 0
	conf := api.AutopilotConfiguration{MaxTrailingLogs: 250}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			if err := json.NewEncoder(w).Encode(conf); err != nil {
				t.Error(err)
			}
			return
		}
		if others > 0 {
			others--
			conf.MaxTrailingLogs, conf.ModifyIndex = conf.MaxTrailingLogs+1, conf.ModifyIndex+1
		}
		if r.URL.Query().Get("cas") != fmt.Sprint(conf.ModifyIndex) {
			fmt.Fprint(w, "false")
			return
		}
		if err := json.NewDecoder(r.Body).Decode(&conf); err != nil {
			t.Error(err)
		}
		fmt.Fprint(w, "true")
	}))
	defer srv.Close()
	t.Setenv("SKERRY_HTTP_ADDR", srv.URL)
	set := func() error {
		cmd := NewOperator()
		cmd.SetArgs([]string{"autopilot", "set-config", "--min-quorum=3"})
		cmd.SetOut(t.Output())
		return cmd.Execute()
	}
	others = 2
	if err := set(); err != nil || conf.MinQuorum != 3 || conf.MaxTrailingLogs != 252 {
		t.Errorf("after two other changes: %v, %+v", err, conf)
	}
	others = changeTries
	if err := set(); err == nil || !strings.Contains(err.Error(), "nothing is changed") {
		t.Errorf("other changes come each time: %v", err)
	}
}
