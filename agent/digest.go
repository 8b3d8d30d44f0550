package agent

// The digest of the set is kept as a sum, so that a change costs only its own records. It
// is counted when the journal was replayed: a record that is replaced costs nothing before.

// digest returns the digest of the set, as [skerry.Set.Digest] does. Called with mu held.
func (a *Agent) digest() uint64 { return max(a.sum, 1) }

// count makes the sum of all records.
func (a *Agent) count() {
	a.counted = true
	a.sum = a.cfg.Node.Digest()
	for _, sv := range a.services {
		sv.digest = sv.instance.Digest()
		a.sum += sv.digest
	}
	for _, cs := range a.checks {
		cs.digest = cs.check.Digest()
		a.sum += cs.digest
	}
}

// tallyCheck counts the check as it is now.
func (a *Agent) tallyCheck(cs *checkState) {
	if !a.counted {
		return
	}
	a.sum -= cs.digest
	cs.digest = cs.check.Digest()
	a.sum += cs.digest
}

// tallyService counts the instance in place of the one that it replaces; was may be nil.
func (a *Agent) tallyService(sv, was *service) {
	if was != nil {
		a.sum -= was.digest
	}
	sv.digest = sv.instance.Digest()
	a.sum += sv.digest
}
