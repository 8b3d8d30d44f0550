// Command ask is what run.sh needs of curl and dig, for machines without them.
//
//	ask wait URL TEXT      until the answer holds TEXT, 30 s at most
//	ask put URL BODY       one PUT
//	ask instances URL      the instances in an answer of /v1/health/service
//	ask srv ADDRESS NAME   the SRV records of NAME at a name server
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

func main() {
	ctx, stop := context.WithTimeout(context.Background(), 30*time.Second)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "ask:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) < 2 {
		return fmt.Errorf("want wait, put, instances or srv, and what to ask")
	}
	verb, target, rest := args[0], args[1], append(args[2:], "")
	switch verb {
	case "wait":
		return wait(ctx, target, rest[0])
	case "put":
		_, err := request(ctx, http.MethodPut, target, rest[0])
		return err
	case "instances":
		return instances(ctx, target)
	case "srv":
		return srv(ctx, target, rest[0])
	}
	return fmt.Errorf("no such request: %s", verb)
}

func wait(ctx context.Context, url, text string) error {
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		body, err := request(ctx, http.MethodGet, url, "")
		if err == nil && strings.Contains(string(body), text) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s never held %s: %v", url, text, err)
		case <-again.C:
		}
	}
}

func request(ctx context.Context, method, url, body string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, url, resp.Status, data)
	}
	return data, err
}

func instances(ctx context.Context, url string) error {
	data, err := request(ctx, http.MethodGet, url, "")
	if err != nil {
		return err
	}
	var found []struct {
		Service struct {
			ID, Address string
			Port        int
			Tags        []string
		}
		Checks []struct{ Name, Status, Output string }
	}
	if err := json.Unmarshal(data, &found); err != nil {
		return err
	}
	for _, f := range found {
		fmt.Printf("%s at %s:%d, tags %v\n", f.Service.ID, f.Service.Address, f.Service.Port, f.Service.Tags)
		for _, c := range f.Checks {
			first, _, _ := strings.Cut(c.Output, "\n")
			fmt.Printf("  %s is %s: %s\n", c.Name, c.Status, first)
		}
	}
	return nil
}

func srv(ctx context.Context, server, name string) error {
	r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, server)
	}}
	_, records, err := r.LookupSRV(ctx, "", "", name+".")
	for _, s := range records {
		fmt.Printf("%s. SRV %d %d %d %s\n", name, s.Priority, s.Weight, s.Port, s.Target)
	}
	return err
}
