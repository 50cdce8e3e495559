package dataplane

import (
	"encoding/json"
	"errors"
)

// Changes says what one Apply did.
type Changes struct {
	// Tables counts changes by table: the names of the maps (ports, endpoints, ...), and "links", "neighbours", "fdb"
	// for what is not a map. A table without a change is absent.
	Tables map[string]Delta `json:"tables"`
	// Problems are single bad items. They were skipped, the rest was applied.
	Problems []Problem `json:"problems"`
}

// Delta counts the entries of one table that an Apply added, changed and removed.
type Delta struct {
	Added   int `json:"added"`
	Updated int `json:"updated"`
	Removed int `json:"removed"`
}

// Total is the sum over all tables.
func (c Changes) Total() Delta {
	var t Delta
	for _, d := range c.Tables {
		t.Added += d.Added
		t.Updated += d.Updated
		t.Removed += d.Removed
	}
	return t
}

// Empty reports whether nothing had to be changed.
func (c Changes) Empty() bool { return len(c.Tables) == 0 }

func (c *Changes) count(table string, d Delta) {
	if d == (Delta{}) {
		return
	}
	if c.Tables == nil {
		c.Tables = map[string]Delta{}
	}
	t := c.Tables[table]
	t.Added += d.Added
	t.Updated += d.Updated
	t.Removed += d.Removed
	c.Tables[table] = t
}

func (c *Changes) problem(subject string, err error) {
	c.Problems = append(c.Problems, Problem{Subject: subject, Err: err})
}

// Problem is a single bad item: what it is, and why it was skipped.
type Problem struct {
	Subject string // e.g. "forward tcp 192.0.2.1:64363 of ws-u3"
	Err     error
}

func (p Problem) Error() string { return p.Subject + ": " + p.Err.Error() }

func (p Problem) Unwrap() error { return p.Err }

type problemJSON struct {
	Subject string `json:"subject"`
	Error   string `json:"error"`
}

// MarshalJSON writes the error as text.
func (p Problem) MarshalJSON() ([]byte, error) {
	j := problemJSON{Subject: p.Subject}
	if p.Err != nil {
		j.Error = p.Err.Error()
	}
	return json.Marshal(j)
}

// UnmarshalJSON reads what MarshalJSON wrote; the error keeps its text and loses its type.
func (p *Problem) UnmarshalJSON(b []byte) error {
	var j problemJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*p = Problem{Subject: j.Subject, Err: errors.New(j.Error)}
	return nil
}
