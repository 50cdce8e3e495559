package server

import "net/url"

// ParsePath is parsePath, for the tests outside.
func ParsePath(u *url.URL) (owner, name, rest string, err error) {
	p, err := parsePath(u)
	return p.repo.Owner, p.repo.Name, p.rest, err
}
