// Command fileserver serves the files of a folder over HTTP. It knows no registry:
// fileserver.sh registers it.
package main

import (
	"flag"
	"log"
	"net/http"
	"time"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8000", "`address` to listen on")
	dir := flag.String("dir", ".", "`folder` to serve")
	flag.Parse()
	server := &http.Server{
		Addr:              *listen,
		Handler:           http.FileServer(http.Dir(*dir)),
		ReadHeaderTimeout: 10 * time.Second,
	}
	log.Printf("serving %s on http://%s", *dir, *listen)
	log.Fatal(server.ListenAndServe())
}
