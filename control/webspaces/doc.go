// Package webspaces builds the webspace service from the configuration, for the roles that need it.
package webspaces
