// Package dns is the DNS front-end: it answers names below a domain ("consul.")
// from the catalog, in the forms that Consul answers, and passes other names on
// to recursors.
//
// What a service's answer is made of is prepared once per version of the
// service and kept in its [skerry.View]; a request copies and shuffles these
// bytes. Everything else (nodes, addresses, SOA, PTR, recursion) goes the plain
// way through [github.com/miekg/dns.Msg].
package dns
