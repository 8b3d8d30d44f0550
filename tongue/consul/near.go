package consul

import "github.com/skerryhq/skerry"

func (q *request) sortEntries(entries []*skerry.Entry) []*skerry.Entry {
	return sortNear(q, entries, func(e *skerry.Entry) string { return e.Node.Name })
}

// sortNear orders list by the distance of each element's node from the node of ?near.
// Without it, or if that node has no coordinate, the order stays.
func sortNear[T any](q *request, list []T, node func(T) string) []T {
	from := q.p.near
	if from == skerry.NearAgent {
		from = q.agentNode()
	}
	if from == "" || q.f.b.Catalog.Node(from) == nil || q.unseen(skerry.ResourceNode, from) { // a coordinate may be kept for a removed node
		return list
	}
	distance := q.f.b.Coords.From(from)
	if distance == nil {
		return list
	}
	return skerry.SortNear(list, func(v T) float64 { return distance(node(v)) })
}
