package manage

import (
	"context"
	"fmt"
	"time"
)

// Manager changes accounts: the file of them, or a Client of the daemon that has it open.
type Manager interface {
	// Add adds an account. ErrExists: its name or number is taken.
	Add(context.Context, New) (Account, error)
	// Set changes an account. ErrNotFound.
	Set(ctx context.Context, name string, c Change) (Account, error)
	// Remove removes an account and its sessions; its webspace stays. ErrNotFound.
	Remove(ctx context.Context, name string) error
	// List gives all accounts by number.
	List(context.Context) ([]Account, error)
}

// New is an account to be added.
type New struct {
	UID      int      `json:"uid,omitempty"` // 0: the next that is free
	Username string   `json:"username"`
	Password string   `json:"password"`
	Admin    bool     `json:"admin,omitempty"`
	SSHKeys  []string `json:"sshKeys,omitempty"`
}

// Change is what shall be different about an account; nil: as it is.
type Change struct {
	Password *string   `json:"password,omitempty"` // also ends all sessions
	Admin    *bool     `json:"admin,omitempty"`
	SSHKeys  *[]string `json:"sshKeys,omitempty"`
}

// Account is one of a list.
type Account struct {
	UID      int       `json:"uid"`
	Username string    `json:"username"`
	Admin    bool      `json:"admin"`
	SSHKeys  []string  `json:"sshKeys"`
	Created  time.Time `json:"created"`
	Sessions int       `json:"sessions"`
}

// what says what a change is about, for the log.
func (c Change) what() string {
	switch {
	case c.Password != nil:
		return "password"
	case c.Admin != nil:
		return fmt.Sprintf("admin=%v", *c.Admin)
	}
	return "keys"
}
