// Package lab builds several Lanyard nodes on one machine, each with its own namespaces, LXD daemon and lanyardd, and
// around them an "internet": a router, a server and a client.
//
//	     server 198.51.100.10        client 203.0.113.10
//	              \                   /   (MTU of this link can be lowered)
//	               router ("internet")
//	     bridge 192.0.2.254/24, inside the router's namespace
//	       |             |             |
//	n1 192.0.2.1    n2 192.0.2.2   n3 192.0.2.3     eth0 of each: underlay and uplink
//
// Every interface, bridge, route and mount lives in namespaces that the lab made; the machine's own are not touched.
// Only processes, cgroup directories and one folder of files are outside, and Close removes them. A lab of a process
// that was killed goes away by itself (its namespaces hang on a pipe from that process); what it leaves on disk and in the
// cgroup tree is removed by Clean, or `lab down`.
//
// It needs root, and the packages that hack/install.sh names.
package lab
