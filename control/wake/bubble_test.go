package wake

// held is what the engine counts as held for all webspaces.
func (e *Engine) held() totals {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.total
}
