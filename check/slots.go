package check

// slot is a moment at which something is due, in nanoseconds of its clock.
type slot[T any] struct {
	at int64
	of T
}

// slots is a binary heap, earliest first. Slots are never moved or removed when their
// check changes: a popped slot is compared with the check.
type slots[T any] []slot[T]

func (h *slots[T]) push(at int64, of T) {
	*h = append(*h, slot[T]{at, of})
	s := *h
	for i := len(s) - 1; i > 0; {
		parent := (i - 1) / 2
		if s[parent].at <= s[i].at {
			return
		}
		s[parent], s[i] = s[i], s[parent]
		i = parent
	}
}

func (h *slots[T]) pop() slot[T] {
	s := *h
	top := s[0]
	last := len(s) - 1
	s[0], s[last] = s[last], slot[T]{}
	*h = s[:last]
	h.down(0)
	return top
}

// postpone moves the earliest slot to a later moment.
func (h *slots[T]) postpone(at int64) {
	(*h)[0].at = at
	h.down(0)
}

func (h *slots[T]) down(i int) {
	s := *h
	for {
		least, left := i, 2*i+1
		for _, child := range [2]int{left, left + 1} {
			if child < len(s) && s[child].at < s[least].at {
				least = child
			}
		}
		if least == i {
			return
		}
		s[i], s[least] = s[least], s[i]
		i = least
	}
}

// sweep drops the slots that keep does not want.
func (h *slots[T]) sweep(keep func(slot[T]) bool) {
	kept := (*h)[:0]
	for _, s := range *h {
		if keep(s) {
			kept = append(kept, s)
		}
	}
	clear((*h)[len(kept):])
	*h = kept
	for i := len(kept)/2 - 1; i >= 0; i-- {
		h.down(i)
	}
}

// crowded reports whether a heap of n slots is worth a sweep of its dead ones.
func crowded(dead, n int) bool { return dead > 64 && dead > n/2 }
