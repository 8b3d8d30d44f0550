package consul

func (q *request) statusLeader() error {
	if err := q.local(); err != nil {
		return err
	}
	return q.json(q.t.cfg.ServerAddr)
}

func (q *request) statusPeers() error {
	if err := q.local(); err != nil {
		return err
	}
	return q.json([]string{q.t.cfg.ServerAddr})
}
