package lb

// split divides the members by the caller's zone. Its own zone takes all of its
// calls while the zone's share of the capacity is at least its share of the
// callers; else what it can bear, and the other zones the rest (Envoy's
// zone-aware routing).
func (v *view) split(in []*member, zone string, callers map[string]float64) {
	capacity := map[string]float64{}
	total := 0.
	for _, m := range in {
		capacity[m.Zone] += 1 / m.per
		total += 1 / m.per
	}
	if zone == "" || capacity[zone] == 0 || len(capacity) == 1 {
		v.near, v.nearShare = in, 1
		return
	}
	share := func(z string) float64 {
		if callers != nil {
			return callers[z]
		}
		return 1 / float64(len(capacity))
	}
	own, mine := capacity[zone]/total, share(zone)
	if own >= mine {
		v.nearShare = 1
	} else {
		v.nearShare = own / mine
	}
	// What is left over goes where there is more capacity than callers, to each by
	// what it has to spare.
	spare := map[string]float64{}
	most := 0.
	for z, c := range capacity {
		if s := c/total - share(z); z != zone && s > 0 {
			spare[z] = s / c // for each unit of capacity
			most = max(most, spare[z])
		}
	}
	for _, m := range in {
		switch {
		case m.Zone == zone:
			v.near = append(v.near, m)
		case v.nearShare == 1:
		case most == 0:
			v.far = append(v.far, m)
		case spare[m.Zone] > 0:
			far := *m
			far.per *= most / spare[m.Zone]
			v.far = append(v.far, &far)
		}
	}
}
