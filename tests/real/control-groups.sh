# Gives a copy of a machine the control groups that a kubelet writes to. Argument: a name for them that nobody else uses.
#
# With version 2 the copy has a tree of its own. With version 1 it sees the machine's own hierarchies, to read: each gets a group
# of its own in the hierarchy's place, which is what the container runtime then finds as its root.
set -euo pipefail
name=$1
[ "$(stat --file-system --format=%T /sys/fs/cgroup)" != cgroup2fs ] || exit 0
for directory in $(awk '$3 == "cgroup" && $4 !~ /name=/ { print $2 }' /proc/mounts); do
    aside=/run/cgroup-aside/${directory##*/}
    mkdir -p "$aside"
    mount -o remount,rw,bind "$directory"
    mkdir -p "$directory/$name"
    for file in cpuset.cpus cpuset.mems; do
        [ ! -f "$directory/$file" ] || cat "$directory/$file" >"$directory/$name/$file"
    done
    mount --bind "$directory/$name" "$aside"
    umount --lazy "$directory"
    mount --bind "$aside" "$directory"
    umount "$aside"
done
