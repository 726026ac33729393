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
