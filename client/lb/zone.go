package lb

// split divides the members by the caller's zone. Its own zone takes all of its calls
// while the zone's share of the capacity is at least its share of the callers; else as
// many as it can bear, and the other zones the rest (Envoy's zone-aware routing).
func (v *view) split(in []*member, zone string, callers map[string]float64) {
	capacity := map[string]float64{}
	total := 0.
	for _, m := range in {
		capacity[m.Zone] += m.weight
		total += m.weight
	}
	if zone == "" || capacity[zone] == 0 || len(capacity) == 1 {
		v.near, v.nearShare = v.all, 1
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
	var near, far []*member
	for _, m := range in {
		switch spare := capacity[m.Zone]/total - share(m.Zone); {
		case m.Zone == zone:
			near = append(near, m)
		case v.nearShare < 1 && spare > 0:
			// The rest goes where there is more capacity than callers, to each zone by
			// its spare capacity.
			other := *m
			other.weight *= spare * total / capacity[m.Zone]
			far = append(far, &other)
		}
	}
	v.near, v.far = newSet(near), newSet(far)
	if len(far) == 0 {
		v.nearShare = 1
	}
}
