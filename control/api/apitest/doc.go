// Package apitest has stand-ins for tests of the API and of its clients: webspaces in memory, with the behaviour that
// webspace.Service documents, and accounts whose tokens are written down in the test.
//
// Commands of these webspaces run on the machine of the test, as its user: only tests decide what they are.
package apitest
