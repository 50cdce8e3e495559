// Package githubtest is a double of GitHub for tests and benchmarks: the listing of releases in the shape that GitHub's REST
// API answers with, validators, pages and rate limit included, and the two hosts that assets come from. It counts what it is
// asked, and can be told to fail.
package githubtest
