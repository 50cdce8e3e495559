#!/bin/bash
# PID 1 of one set of namespaces in the lab; with it everything inside ends.
# Arguments: node|plain NAME DIR CGROUP. Standard input is the lifeline: at its end the namespaces die (unless "detached").
set -eu
kind=$1 name=$2 dir=$3 group=$4 lifeline=$5

if [ "$kind" = node ] && [ -z "${LAB_IN_CGROUP:-}" ]; then
	# Join the node's own group in every hierarchy first: the cgroup namespace takes its root from where we are.
	if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
		echo 0 >"/sys/fs/cgroup/$group/cgroup.procs"
	else
		for h in /sys/fs/cgroup/*/; do
			[ ! -d "$h$group" ] || echo 0 >"$h$group/cgroup.procs"
		done
	fi
	LAB_IN_CGROUP=1 exec unshare -C /bin/bash "$0" "$@"
fi

mount --make-rprivate /
hierarchies=$(awk '$3 == "cgroup" { print $2, $4 }' /proc/mounts)
v2=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
mount -t proc proc /proc
mount -t sysfs sysfs /sys # shows this network namespace
hostname "$name"

if [ "$kind" = node ]; then
	if [ "$v2" = /sys/fs/cgroup ]; then
		mount -t cgroup2 cgroup2 /sys/fs/cgroup
		# "No internal processes": the daemons sit in a leaf, containers get groups beside it.
		mkdir -p /sys/fs/cgroup/daemons
		echo 0 >/sys/fs/cgroup/daemons/cgroup.procs
		for c in $(cat /sys/fs/cgroup/cgroup.controllers); do
			echo "+$c" >/sys/fs/cgroup/cgroup.subtree_control 2>/dev/null || true
		done
	else
		mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
		while read -r path options; do
			[ -n "$path" ] || continue
			h=$(basename "$path")
			# Kernel options only: the controllers, or the name of a hierarchy without one.
			c=$(echo "$options" | tr , '\n' | grep -vxE 'rw|ro|relatime|noexec|nosuid|nodev|xattr|clone_children|release_agent=.*' | paste -sd, -)
			case $c in name=*) c=none,$c ;; esac
			mkdir -p "/sys/fs/cgroup/$h"
			mount -t cgroup -o "$c" cgroup "/sys/fs/cgroup/$h"
		done <<<"$hierarchies"
		mkdir -p /sys/fs/cgroup/unified
		mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified
	fi
	mount -t tmpfs -o mode=755 tmpfs /run
	mkdir -p /run/lock
	mount -t bpf bpf /sys/fs/bpf # pinned programs of this node only
	mount --bind "$dir/lxd" /var/lib/lxd
	# Name servers of this machine are none of the lab's: webspaces would be told to ask them.
	echo "nameserver 198.51.100.10" >"$dir/resolv.conf"
	[ ! -e /etc/resolv.conf ] || mount --bind "$dir/resolv.conf" "$(readlink -f /etc/resolv.conf)"
	# The hook of lxcfs sleeps half a second at every stop of a container.
	[ ! -d /usr/share/lxc/config/common.conf.d ] || mount -t tmpfs tmpfs /usr/share/lxc/config/common.conf.d
fi

trap : TERM INT HUP PWR
touch "$dir/ready"
if [ "$lifeline" = detached ]; then
	while :; do sleep infinity & wait $! || true; done
fi
while :; do
	read -r _ && continue
	# End of file is a status of 1; a trapped signal gives more than 128.
	[ $? -gt 128 ] || break
done
