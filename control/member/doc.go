// Package member is the command line for members: `lanyard login`, `lanyard logout`, and everything under `lanyard ws`.
//
// It speaks to the API only (control/api/client, and websockets for commands and the console), and compiles wherever Go does.
// Nothing that a member types, and nothing that the server says, is ever given to a shell here.
package member
