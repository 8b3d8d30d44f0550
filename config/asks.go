package config

import (
	"path"
	"reflect"
)

// quiet are patterns of keys without effect yet that change nothing as long as
// the part that they belong to is missing: that part's own key gives the warning.
var quiet = []string{
	"addresses.grpc*", "retry_max*", "syslog_facility", "ui_config.content_path", "telemetry.dogstatsd_tags",
	"limits.rpc_*", "tls.*", "autopilot.*", "performance.*",
}

// asksNothing reports whether a key that is without effect yet is at a value whose lack
// is not noticed.
func (c *Config) asksNothing(key string) bool {
	switch key {
	case "ports.grpc":
		return c.Ports.GRPC <= 0
	case "ports.grpc_tls":
		return c.Ports.GRPCTLS <= 0
	case "retry_join":
		return !c.Dev || len(c.RetryJoin) == 0
	}
	for _, pattern := range quiet {
		if match, _ := path.Match(pattern, key); match {
			return true
		}
	}
	own, usual := c.at(key), Default().at(key)
	return own.IsValid() && same(own, usual)
}

// at returns the value of the key at a path; the zero Value where there is none.
func (c *Config) at(key string) (found reflect.Value) {
	walk(reflect.ValueOf(c).Elem(), Key{}, func(k Key, v reflect.Value) {
		if k.Path == key {
			found = v
		}
	})
	return found
}

// asksNothing reports whether the value turns nothing on: false, empty, or an object of
// such.
func (v *value) asksNothing() bool {
	switch v.kind {
	case null:
		return true
	case boolean:
		return v.text == "false"
	case text:
		return v.text == ""
	case list:
		return len(v.items) == 0
	case object:
		for _, m := range v.members {
			if !m.value.asksNothing() {
				return false
			}
		}
		return true
	}
	return false
}
