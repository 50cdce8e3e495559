// Package source says what a place is where images come from. See source/github and source/folder.
package source
