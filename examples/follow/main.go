// Command follow prints the instances of services as they change. It uses nothing but the standard library.
//
//	follow http://127.0.0.1:8500 web db
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

type event struct {
	Service           string
	Whole             bool
	Entries, Draining []struct {
		Node    struct{ Node, Address string }
		Service struct {
			ID, Address string
			Port        int
		}
	}
	Removed []struct{ Node, ID string }
}

func main() {
	known, resume := map[string]map[string]string{}, ""
	for ; ; time.Sleep(time.Second) { // the list stays as it was while no server answers
		query := url.Values{"service": os.Args[2:], "resume": {resume}}
		resp, err := http.Get(os.Args[1] + "/v1/skerry/follow?" + query.Encode())
		if err != nil {
			log.Print(err)
			continue
		}
		kind, id := "", ""
		lines := bufio.NewScanner(resp.Body)
		for lines.Buffer(nil, 16<<20); lines.Scan(); {
			field, value, _ := strings.Cut(lines.Text(), ": ")
			switch field {
			case "event":
				kind = value
			case "id":
				id = value
			case "data":
				var e event
				if err := json.Unmarshal([]byte(value), &e); err != nil || kind != "view" {
					break
				}
				apply(known, &e)
				resume = id // the list is that of this event from here on
				fmt.Println(e.Service, len(known[e.Service]), known[e.Service])
			}
		}
		resp.Body.Close()
	}
}

// apply changes the addresses of a service by node and ID. Draining instances take no new requests.
func apply(known map[string]map[string]string, e *event) {
	list := known[e.Service]
	if e.Whole || list == nil {
		list = map[string]string{}
		known[e.Service] = list
	}
	for _, x := range e.Entries {
		address := x.Service.Address
		if address == "" {
			address = x.Node.Address
		}
		list[x.Node.Node+"/"+x.Service.ID] = fmt.Sprint(address, ":", x.Service.Port)
	}
	for _, x := range e.Draining {
		delete(list, x.Node.Node+"/"+x.Service.ID)
	}
	for _, x := range e.Removed {
		delete(list, x.Node+"/"+x.ID)
	}
}
