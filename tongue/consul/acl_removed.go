package consul

import "net/http"

// aclRemoved answers requests for the tokens of before Consul 1.4, as Consul does since 1.11.
func (q *request) aclRemoved() error {
	return status(http.StatusGone, "Endpoint "+q.r.URL.Path+" for the legacy ACL system was removed in Consul 1.11.")
}
