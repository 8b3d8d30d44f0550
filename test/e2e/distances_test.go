package e2e

import (
	"fmt"
	"testing"

	"github.com/hashicorp/consul/api"
)

// Servers and agents measure how far they are from each other, and each server answers by the coordinates of all.
func TestNodesHaveCoordinates(t *testing.T) {
	t.Parallel()
	servers, at := serversWith(t, 3, map[string]any{})
	agent := start(t, map[string]any{"node_name": "web1", "server": false, "bootstrap_expect": 0, "retry_join": at})
	agent.attached()
	agent.register(`{"ID": "web-1", "Name": "web", "Port": 81}`)
	for _, a := range append(servers, agent) {
		client := a.client()
		await(t, "coordinates of all nodes", func() error {
			all, _, err := client.Coordinate().Nodes(nil)
			if err == nil && len(all) != 4 {
				err = fmt.Errorf("got %d", len(all))
			}
			return err
		})
		one, _, err := client.Coordinate().Node("web1", nil)
		if err != nil || len(one) != 1 {
			t.Fatalf("the coordinate of the agent: %v, %v", one, err)
		}
		nodes, _, err := client.Catalog().Nodes(&api.QueryOptions{Near: "web1"})
		if err != nil || len(nodes) != 4 || nodes[0].Node != "web1" {
			t.Errorf("the nodes by their distance from web1: %v, %v", nodes, err)
		}
		if list, _, err := client.Health().Service("web", "", true, &api.QueryOptions{Near: "_agent"}); err != nil || len(list) != 1 {
			t.Errorf("web by distance: %v, %v", list, err)
		}
	}
	self, err := agent.client().Agent().Self()
	if err != nil {
		t.Fatal(err)
	}
	if vec := fmt.Sprint(self["Coord"]["Vec"]); vec == "[0 0 0 0 0 0 0 0]" || vec == "<nil>" {
		t.Errorf("the agent shows its coordinate as %v", self["Coord"])
	}
}
