// Package github lists the releases of GitHub repositories and reads their assets, over GitHub's REST API (2022-11-28).
//
// It asks as little as it can: with validators (If-None-Match), so that what has not changed costs no transfer and, with a
// token, no part of the rate limit; and not at all while GitHub's limits say so. The token goes to the API's own host and to
// no other. Downloads follow redirects only to known hosts, and never into private networks.
package github
