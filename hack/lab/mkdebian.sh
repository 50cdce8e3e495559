#!/bin/bash
# Builds the Debian image of the lab: bookworm with systemd, an SSH server, and each DHCP client that a webspace may bring.
# Arguments: MIRROR TARGET WORKDIR. Runs in its own mount and pid namespace, so that nothing stays mounted or running.
set -euo pipefail
mirror=$1 target=$2 work=$3
# In memory: dpkg has every file written to the disk before it goes on, which is more than half of the time.
mount -t tmpfs -o mode=755,size=1g tmpfs "$work"
cd "$work"
root=$work/rootfs
packages=systemd,systemd-sysv,udev,dbus,iproute2,isc-dhcp-client,dhcpcd-base,iputils-ping,iputils-arping,netbase,curl,traceroute,iperf3,procps,systemd-resolved,openssh-server

debootstrap --variant=minbase --include=$packages bookworm "$root" "$mirror" >"$work/debootstrap.log" 2>&1 ||
	{ tail -n 15 "$work/debootstrap.log" >&2; exit 1; }

cat >"$root/etc/systemd/network/eth0.network" <<'X'
[Match]
Name=eth0
[Network]
DHCP=ipv4
LinkLocalAddressing=no
IPv6AcceptRA=no
[DHCPv4]
ClientIdentifier=mac
UseMTU=true
X
inside() { chroot "$root" "$@" >/dev/null 2>&1; }
inside systemctl enable systemd-networkd systemd-resolved
# Useless in a container, and slow.
inside systemctl mask e2scrub_reap.service modprobe@loop.service systemd-networkd-wait-online.service apt-daily.timer \
	apt-daily-upgrade.timer e2scrub_all.timer dpkg-db-backup.timer fstrim.timer systemd-journal-flush.service
echo webspace >"$root/etc/hostname"
: >"$root/etc/machine-id"
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,locale,man}/*

cat >"$work/metadata.yaml" <<X
architecture: $(uname -m)
creation_date: 1
properties: {os: Debian, release: bookworm, description: Debian webspace of the lab}
templates: {/etc/hostname: {when: [create, copy], template: hostname.tpl}}
X
mkdir "$work/templates"
echo '{{ container.name }}' >"$work/templates/hostname.tpl"
tar -C "$work" --numeric-owner -cf "$target.part" metadata.yaml templates rootfs
mv "$target.part" "$target"
