package gozero

import (
	"net/url"
	"strings"
)

// The parameters of go-zero's contributed resolvers, and their names in our sources.
var (
	consulWords = map[string]string{"tag": "tag", "dc": "dc", "token": "token", "healthy": "passing", "insecure": "skip-verify"}
	nacosWords  = map[string]string{"namespaceid": "namespace", "groupname": "group", "clusters": "cluster"}
)

// registry takes apart a target that names hosts and a service. Parameters that set the
// pace of another client's questions are left out.
func registry(scheme, authority, service string, query url.Values, fail func(string) (string, string, error)) (string, string, error) {
	want := "want " + scheme + "://HOST:PORT,…/SERVICE"
	words := consulWords
	if scheme == "nacos" {
		words = nacosWords
	}
	host := authority
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		if host = authority[at+1:]; scheme == "consul" {
			return fail("it has a user and a password: take a token, as in consul://HOST:PORT/SERVICE?token=…")
		}
	}
	switch {
	case len(fields(host)) == 0:
		return fail("it names no host: " + want)
	case service == "" || strings.Contains(service, "/"):
		return fail("it names no service: " + want)
	}
	handed := url.Values{}
	for key, values := range query {
		if to := words[strings.ToLower(key)]; to != "" {
			handed[to] = values
		}
	}
	if scheme == "consul" && query.Get("insecure") == "true" {
		handed.Set("tls", "true")
	}
	sourceURL := scheme + "://" + authority + "/"
	if len(handed) > 0 {
		sourceURL += "?" + handed.Encode()
	}
	return sourceURL, service, nil
}
