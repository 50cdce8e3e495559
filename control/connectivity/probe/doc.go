// Package probe is what runs inside the temporary webspaces of the connectivity test. The lanyard binary is the whole
// file system of such a webspace: as process 1 it gets the address by DHCP and serves (Init), and started again beside
// that it sends one probe and prints the outcome as JSON (Main).
package probe
