package local

import (
	"context"
	"time"

	"github.com/lanyard-project/lanyard/control/account/attempts"
)

// Options of a file of accounts. Zero values are replaced by what the comments say.
type Options struct {
	Path     string          // of the file; its folder is made
	Lifetime time.Duration   // of a token; 30 days
	Hash     Hash            // cost of a password
	Hashes   int             // computed at once, each takes Hash.Memory; 2
	Limits   attempts.Limits // of failed logins; attempts.Default
	OpenWait time.Duration   // for another process to give up the file; 2 s

	// InUse are the numbers of webspaces that exist: none of them is given to a new account, who would inherit what
	// somebody else left. Nil: none exist.
	InUse func(context.Context) ([]int, error)
	Now   func() time.Time // time.Now
}

// Hash is the cost of argon2id (RFC 9106). The default is its second recommendation.
type Hash struct {
	Memory  uint32 // KiB; 64 MiB
	Passes  uint32 // 3
	Threads uint8  // 4
}

func (o *Options) defaults() {
	orElse(&o.Lifetime, 30*24*time.Hour)
	orElse(&o.Hash.Memory, 64<<10)
	orElse(&o.Hash.Passes, 3)
	orElse(&o.Hash.Threads, 4)
	orElse(&o.Hashes, 2)
	orElse(&o.OpenWait, 2*time.Second)
	orElse(&o.Limits, attempts.Default)
	if o.Now == nil {
		o.Now = time.Now
	}
}

func orElse[T comparable](v *T, d T) {
	if *v == *new(T) {
		*v = d
	}
}
