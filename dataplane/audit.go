package dataplane

// patience is how many sweeps in a row must find the same difference before a share is corrected. Flows come and go while
// a sweep counts, so a difference that changes means nothing.
const patience = 3

// audit compares what sweeps count with what shares say. They differ for good only when a daemon was killed between
// removing a flow and giving its share back.
type audit struct {
	flows, hairpins []suspicion
}

type suspicion struct {
	diff  int64
	times int
}

// weigh returns the correction that is due.
func (s *suspicion) weigh(counted, held int64) int64 {
	diff := counted - held
	if diff == 0 || diff != s.diff {
		*s = suspicion{diff: diff, times: 1}
		return 0
	}
	if s.times++; s.times < patience {
		return 0
	}
	*s = suspicion{}
	return diff
}

// correct adjusts the shares by what is sure to be wrong, and reports how many were.
func (a *audit) correct(m *shareMemory, s *sweep) (corrected int) {
	if a.flows == nil {
		a.flows, a.hairpins = make([]suspicion, m.n), make([]suspicion, m.n)
	}
	for slot := range m.n {
		if n := a.flows[slot].weigh(s.count[slot], m.flows(slot)); n != 0 {
			m.addFlows(slot, n)
			corrected++
		}
		if n := a.hairpins[slot].weigh(s.hairpin[slot], m.hairpins(slot)); n != 0 {
			m.addHairpins(slot, n)
			corrected++
		}
	}
	return corrected
}
