# Makes what a machine boots from in a directory: root.raw (ext4), kernel and initrd; and cni, the plugins that are in it. The release, its mirrors and their keys
# are this machine's own, as apt knows them.
# Arguments: an empty directory on a disk with 3 GB of room.
set -euo pipefail
target=$1
root=$target/root
export LC_ALL=C.UTF-8

# What a node needs, what hostlet's stand-ins use, and what the tests reach into the machine with.
packages=(
    systemd-sysv dbus udev kmod procps util-linux mount linux-image-cloud-amd64
    containerd containernetworking-plugins iproute2 iptables nftables ca-certificates
    qemu-guest-agent busybox-static dmsetup e2fsprogs cloud-init wireguard-tools
)

# One line for each suite of Debian's that this machine installs from: whatever else it has is no part of the image.
sources() {
    local release
    release=$(. /etc/os-release && echo "${VERSION_CODENAME-}")
    # $(...) are apt's own fields; a key that is not configured is left as it is.
    # shellcheck disable=SC2016
    apt-get indextargets --format '$(LABEL)|$(RELEASE)|$(COMPONENT)|$(REPO_URI)|$(SIGNED_BY)' 'Created-By: Packages' |
        sort --unique | while IFS='|' read -r label suite component uri key; do
        case $label:$suite in Debian:"$release" | Debian:"$release"-updates | Debian-Security:*) ;; *) continue ;; esac
        case $key in /*) key="[signed-by=$key] " ;; *) key= ;; esac
        echo "deb $key$uri $suite $component"
    done
}

# Proxies and the like, and nothing else of how apt is configured here.
apt-config dump --format '%F "%v";%n' | grep -E '^Acquire::(https?|Retries|Check-)' >"$target/apt.conf" || true

# Label is known only where the lists are.
if [ -z "$(sources)" ]; then apt-get update --quiet </dev/null >&2; fi
sources >"$target/sources.list"
if [ ! -s "$target/sources.list" ]; then
    echo "apt has no sources of Debian's for this machine's release: the machine tier needs a Debian with them" >&2
    exit 1
fi

include=$(IFS=,; echo "${packages[*]}")
# INITRD: the machines boot with one of their own, below.
INITRD=No mmdebstrap --quiet --mode=root --variant=essential --include="$include" --aptopt="$target/apt.conf" \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --skip=cleanup/apt/lists --skip=output/mknod \
    '' "$root" "$target/sources.list" </dev/null >&2
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root/etc/apt/apt.conf.d/99mmdebstrap"

echo node >"$root/etc/hostname"
printf '127.0.0.1 localhost\n' >"$root/etc/hosts"
: >"$root/etc/fstab"
: >"$root/etc/resolv.conf"
# Fixed: an absent one is a first boot to systemd, which would enable all units by preset.
echo 5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e >"$root/etc/machine-id"

# Debian's containerd looks for CNI plugins in a directory of Debian's; a node's administrator changes that.
if [ -f "$root/etc/containerd/config.toml" ]; then
    sed -i 's|"/usr/lib/cni"|"/opt/cni/bin"|' "$root/etc/containerd/config.toml"
fi

units=$root/etc/systemd/system
# What takes time and has no bearing on a node.
for unit in getty.target serial-getty@ttyS0.service e2scrub_all.timer e2scrub_reap.service fstrim.timer apt-daily.timer \
    apt-daily-upgrade.timer dpkg-db-backup.timer systemd-firstboot.service systemd-hwdb-update.service ldconfig.service \
    systemd-journal-catalog-update.service systemd-update-utmp.service systemd-update-utmp-runlevel.service \
    systemd-random-seed.service systemd-pstore.service modprobe@drm.service modprobe@efi_pstore.service modprobe@fuse.service \
    sys-kernel-debug.mount sys-kernel-tracing.mount dev-mqueue.mount dev-hugepages.mount systemd-timesyncd.service \
    systemd-logind.service systemd-binfmt.service; do
    ln -sf /dev/null "$units/$unit"
done

mkdir -p "$root"/etc/systemd/{journald,system}.conf.d "$root"/etc/systemd/system/qemu-guest-agent.service.d
# Only where a test wants one: it takes as long as all the rest.
touch "$root/etc/cloud/cloud-init.disabled"
printf 'network: {config: disabled}\nlocale: false\ndatasource_list: [NoCloud, None]\n' >"$root/etc/cloud/cloud.cfg.d/99-test.cfg"
# What is wrong is on the console, which the tests keep.
printf '[Journal]\nStorage=volatile\nForwardToConsole=yes\nMaxLevelConsole=warning\n' >"$root/etc/systemd/journald.conf.d/console.conf"
# An emulated processor is slow, and slower while others use the real one.
printf '[Manager]\nDefaultTimeoutStartSec=600\nDefaultTimeoutStopSec=120\nDefaultDeviceTimeoutSec=600\nRuntimeWatchdogSec=off\n' \
    >"$root/etc/systemd/system.conf.d/emulated.conf"
# Stand-ins run where this is.
echo 'f /run/hostlet-rehearsal 0644 root root - A machine that was made for tests.' >"$root/etc/tmpfiles.d/hostlet-rehearsal.conf"

# The same network as in a rehearsal: a namespace plays the gateway.
cat >"$units/node-network.service" <<'UNIT'
[Unit]
Description=A link with a gateway behind it
DefaultDependencies=no
After=systemd-sysctl.service systemd-modules-load.service
Before=network.target network-online.target
Wants=network.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/node-network

[Install]
WantedBy=multi-user.target network-online.target
UNIT
install -D --mode=0755 /dev/stdin "$root/usr/local/sbin/node-network" <<'SCRIPT'
#!/bin/bash
set -eu
ip netns add gateway
ip link add node0 type veth peer name node0 netns gateway
ip -netns gateway link set lo up
ip -netns gateway address add 10.77.0.1/24 dev node0
ip -netns gateway link set node0 up
ip link set lo up
ip address add 10.77.0.2/24 dev node0
ip link set node0 up
ip route add default via 10.77.0.1
until ip link show node0 | grep --quiet 'state UP'; do sleep 0.02; done
SCRIPT
chroot "$root" systemctl --quiet enable node-network.service containerd.service

# The kernel's own drivers for the disk are modules.
version=$(basename "$root"/lib/modules/*)
cp "$root/boot/vmlinuz-$version" "$target/kernel"
initrd=$root/initrd
mkdir -p "$initrd"/{bin,dev,modules,root}
cp "$root/bin/busybox" "$initrd/bin/busybox"
chroot "$root" modprobe --set-version "$version" --all --show-depends virtio_pci virtio_blk | awk '$1 == "insmod" { print $2 }' |
    awk '!seen[$0]++' | while read -r module; do
    cp "$root$module" "$initrd/modules/"
    basename "$module"
done >"$initrd/modules/order"
install --mode=0755 /dev/stdin "$initrd/init" <<'SCRIPT'
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs devtmpfs /dev
for module in $(/bin/busybox cat /modules/order); do /bin/busybox insmod /modules/$module; done
until [ -b /dev/vda ]; do /bin/busybox usleep 10000; done
/bin/busybox mount -t ext4 /dev/vda /root
/bin/busybox mount -o move /dev /root/dev
exec /bin/busybox switch_root /root /sbin/init
SCRIPT
chroot "$root" sh -c 'cd /initrd && find . | busybox cpio -o -H newc' >"$target/initrd" 2>/dev/null
rm -rf "$initrd" "$root"/boot/*
# Stand-ins' archives are made of these, outside.
cp --archive "$root/usr/lib/cni" "$target/cni"

truncate --size=3G "$target/root.raw"
mke2fs -q -t ext4 -E root_owner=0:0,lazy_itable_init=0 -O ^metadata_csum_seed -d "$root" "$target/root.raw" >&2
rm -rf "$root" "$target/sources.list" "$target/apt.conf"
