package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/skerryhq/skerry/tool/sandbox"
)

// role is what the process that is asked for is.
type role struct {
	servers int
	agent   bool // it is an agent of these servers, else the first of them
}

var roles = map[string]role{"follower": {servers: 3}, "agent": {servers: 3, agent: true}, "agent-of-one": {servers: 1, agent: true}}

// process is a server, or the agent.
type process struct {
	file       string // of its configuration
	http, peer string // host:port of its API, and its address among servers
	cmd        *exec.Cmd
}

// configure writes the configurations of all processes, made from the one in a file.
func configure(r role, file string) (*cluster, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	c := &cluster{role: r, ready: make(chan struct{}), ended: make(chan *process, r.servers+1)}
	var configs []map[string]any
	var join []string
	for i := range r.processes() {
		var config map[string]any
		if err := json.Unmarshal(text, &config); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		ports, _ := config["ports"].(map[string]any)
		if ports == nil {
			return nil, fmt.Errorf("%s: ports are missing", file)
		}
		if i == r.asked() {
			c.front = frontOf(config, ports)
		}
		p, err := r.become(config, ports, i)
		if err != nil {
			return nil, err
		}
		p.file = fmt.Sprintf("%s-%d.json", strings.TrimSuffix(file, ".json"), i+1)
		c.all, configs = append(c.all, p), append(configs, config)
		if i < r.servers {
			join = append(join, p.peer)
		}
	}
	for i, config := range configs {
		if r.processes() > 1 && !(r.servers == 1 && i == 0) {
			config["retry_join"] = join
		}
		text, err := json.Marshal(config)
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(c.all[i].file, text, 0o600); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// processes is the number of processes of a role. The agent is the last of them.
func (r role) processes() int {
	if r.agent {
		return r.servers + 1
	}
	return r.servers
}

// asked is the number of the process that is asked for.
func (r role) asked() int {
	if r.agent {
		return r.servers
	}
	return 0
}

// frontOf returns the address of the HTTP API that is asked for.
func frontOf(config, ports map[string]any) net.Addr {
	addresses, _ := config["addresses"].(map[string]any)
	if path, is := strings.CutPrefix(fmt.Sprint(addresses["http"]), "unix://"); is {
		return &net.UnixAddr{Name: path, Net: "unix"}
	}
	return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: number(ports["http"])}
}

// become makes the configuration that of the process with a number.
func (r role) become(config, ports map[string]any, i int) (*process, error) {
	asked := i == r.asked()
	for name, port := range ports {
		if number(port) <= 0 || asked && name != "http" {
			continue
		}
		free, err := sandbox.FreePort()
		if err != nil {
			return nil, err
		}
		ports[name] = free
	}
	if addresses, _ := config["addresses"].(map[string]any); addresses != nil {
		delete(addresses, "http") // the front has it
	}
	if r.servers > 1 {
		delete(config, "bootstrap")
		config["bootstrap_expect"] = r.servers
	}
	switch {
	case asked && r.agent:
		maps.DeleteFunc(config, func(key string, _ any) bool { return key == "bootstrap" || key == "bootstrap_expect" })
		config["server"] = false
	case !asked:
		config["node_name"] = fmt.Sprintf("%v-of-three-%d", config["node_name"], i+1)
		config["node_id"] = fmt.Sprintf("33333333-3333-3333-3333-%012d", i+1)
		config["data_dir"] = fmt.Sprintf("%v-%d", config["data_dir"], i+1)
	}
	return &process{http: local(ports["http"]), peer: local(ports["server"])}, nil
}

func local(port any) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(number(port)))
}

func number(port any) int {
	switch p := port.(type) {
	case int:
		return p
	case float64:
		return int(p)
	}
	return 0
}
