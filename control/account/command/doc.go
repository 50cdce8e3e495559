// Package command is `lanyardd account`: how the administrator of a machine changes the accounts that are kept there.
package command
