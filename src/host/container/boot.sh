# Boots an overlay of this machine with its own systemd. Ends when standard input or the container does.
# Arguments: the name, the layer's archive or nothing, a directory to copy into the root or nothing, units that stay enabled.
name=$0 layer=$1 seed=$2
shift 2

overlay_root "$layer"
root=/mnt/root
umount "$root/run"
# Another machine than this one. Not an absent one: systemd would take that for a first boot and enable all units by preset.
tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"

# The copy is for the node: the machine's own services must not work on copies of their data.
for link in "$root"/etc/systemd/system/*.wants/* "$root"/etc/systemd/system/*.requires/*; do
    [ -L "$link" ] || continue
    for unit in "$@"; do
        # shellcheck disable=SC2053 # units are patterns
        [[ ${link##*/} == $unit ]] && continue 2
    done
    rm "$link"
done
rm -f "$root"/etc/rc[2-5].d/S*
# No disks in here.
: >"$root/etc/fstab"
rm -f "$root/etc/crypttab"
for unit in getty.target console-getty.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
    e2scrub_reap.service fstrim.timer logrotate.timer man-db.timer systemd-networkd-wait-online.service \
    systemd-firstboot.service systemd-remount-fs.service; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done

# A kubelet opens the kernel's log, and sets parameters of the kernel that are the machine's: in their places the copy has files
# of its own. Sources: kubernetes, pkg/kubelet/oom and setupKernelTunables in pkg/kubelet/cm/container_manager_linux.go.
cat >"$root/usr/local/sbin/hostlet-copy" <<'END'
#!/bin/sh
[ -e /dev/kmsg ] || mknod -m 0600 /dev/kmsg c 1 11
mkdir -p /run/hostlet-copy
for parameter in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys \
    kernel/keys/root_maxbytes; do
    own=/run/hostlet-copy/$(echo "$parameter" | tr / .)
    cat "/proc/sys/$parameter" >"$own" && mount --bind "$own" "/proc/sys/$parameter"
done
END
chmod 0755 "$root/usr/local/sbin/hostlet-copy"
cat >"$root/etc/systemd/system/hostlet-copy.service" <<'END'
[Unit]
Description=What a kubelet needs of the machine, in a copy of it
DefaultDependencies=no
After=local-fs.target
Before=sysinit.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/hostlet-copy
END
mkdir -p "$root/etc/systemd/system/sysinit.target.wants"
ln -sf ../hostlet-copy.service "$root/etc/systemd/system/sysinit.target.wants/hostlet-copy.service"

# What is to be there at the boot, units that it enables included.
[ -z "$seed" ] || cp --archive "$seed/." "$root/"

mount -t tmpfs -o mode=0755 hostlet /run
mount -t tmpfs -o mode=1777 hostlet /tmp

exec 3<&0
cat <&3 >/dev/null &
(
    for cgroup in $CGROUPS; do echo 0 >"$cgroup/cgroup.procs"; done
    # Only /proc/sys/net belongs to the container; the rest of /proc/sys is the machine's and stays read-only.
    # A container runtime makes a session keyring for each container.
    SYSTEMD_NSPAWN_API_VFS_WRITABLE=network exec systemd-nspawn --system-call-filter=@keyring --quiet --directory="$root" --machine="$name" --boot \
        --register=no --keep-unit --private-network --capability=all --link-journal=no --timezone=off --resolv-conf=off \
        --console=pipe </dev/null >&2 3<&-
) &
wait -n
