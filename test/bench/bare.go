package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"

	"github.com/miekg/dns"
)

// bare runs this program as one of the servers that do nothing but write bytes.
// It reports whether it did.
func bare(args []string) bool {
	if len(args) < 2 {
		return false
	}
	switch args[0] {
	case "bare-http":
		body, _ := io.ReadAll(os.Stdin)
		length := strconv.Itoa(len(body))
		fmt.Println("ready")
		http.ListenAndServe(args[1], http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", length)
			w.Write(body)
		}))
	case "bare-dns":
		packed, _ := io.ReadAll(os.Stdin)
		var answer dns.Msg
		if err := answer.Unpack(packed); err != nil {
			fmt.Println(err)
			return true
		}
		answer.Compress = true
		srv := &dns.Server{Addr: args[1], Net: "udp", NotifyStartedFunc: func() { fmt.Println("ready") }}
		srv.Handler = dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			m := answer
			m.Id = q.Id
			w.WriteMsg(&m)
		})
		srv.ListenAndServe()
	default:
		return false
	}
	return true
}
