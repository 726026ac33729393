# Part of the other scripts here: an overlay of this machine's root at /mnt/root. Reads come from the machine; writes go to
# a tmpfs that ends with this mount namespace. Argument: the archive of a layer, or nothing.
set -eu

overlay_root() {
    mount -t tmpfs -o mode=0755,size=80% hostlet /mnt
    mkdir /mnt/upper /mnt/work /mnt/root
    [ -z "${1-}" ] || tar --extract --directory /mnt/upper --xattrs --xattrs-include='*' --file "$1"
    overlay / 0
    # An overlay shows one file system: what lies on others is laid over one by one.
    local count=0 device target type
    while read -r device target type _; do
        case $device:$type in /dev/*:* | *:btrfs | *:zfs) ;; *) continue ;; esac
        case $target in /usr | /usr/* | /var | /var/* | /opt | /opt/* | /etc | /etc/* | /srv | /srv/*) ;; *) continue ;; esac
        if [ -d "$target" ]; then
            count=$((count + 1))
            overlay "$target" "$count"
        elif [ -f "$target" ]; then
            # A container's resolv.conf, for instance, is a mount of a single file.
            cp --dereference "$target" "/mnt/root$target"
        fi
    done </proc/self/mounts
    # What the tools below leave in /run and /tmp is not for the machine itself.
    mount -t tmpfs -o mode=0755 hostlet "/mnt/root/run"
}

overlay() {
    mkdir -p "/mnt/upper$1" "/mnt/work/$2"
    mount -t overlay -o "index=off,lowerdir=$1,upperdir=/mnt/upper${1%/},workdir=/mnt/work/$2" overlay "/mnt/root${1%/}"
}
