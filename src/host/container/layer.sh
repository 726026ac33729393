# Installs packages into an overlay of this machine and keeps what that wrote as an archive.
# Arguments: the archive to write, the packages.
archive=$1
shift
packages=()
# Set where the machine itself has none.
own_containerd=
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
root=/mnt/root

install() {
    chroot "$root" apt-get install --yes --quiet --no-install-recommends --no-upgrade \
        -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--path-exclude='/usr/share/man/*' -o Dpkg::Options::=--path-exclude='/usr/share/doc/*' \
        "${packages[@]}" </dev/null >&2
}

prepare() {
    overlay_root
    mount --rbind /dev "$root/dev"
    mount -t proc proc "$root/proc"
    mount -t sysfs sys "$root/sys"
    # Package lists and archives are no part of the layer.
    for directory in tmp var/tmp var/cache/apt; do mkdir -p "$root/$directory" && mount -t tmpfs hostlet "$root/$directory"; done
    resolv=$(readlink -f /etc/resolv.conf || true)
    if [ -f "$resolv" ] && [ ! -e "$root$resolv" ]; then
        mkdir -p "$root${resolv%/*}"
        cp "$resolv" "$root$resolv"
    fi

    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod 0755 "$root/usr/sbin/policy-rc.d"

    for package in "$@"; do
        # Another vendor's containerd is as good, and Debian's would displace it.
        if [ "$package" = containerd ]; then
            if command -v containerd >/dev/null; then continue; fi
            own_containerd=yes
        fi
        packages+=("$package")
    done
    # Lists that are there and fresh save the update.
    install || {
        chroot "$root" apt-get update --quiet </dev/null >&2
        install
    }

    # Debian's containerd looks for CNI plugins in a directory of Debian's; a node's administrator changes that.
    if [ -n "$own_containerd" ] && [ -f "$root/etc/containerd/config.toml" ]; then
        sed -i 's|"/usr/lib/cni"|"/opt/cni/bin"|' "$root/etc/containerd/config.toml"
    fi

    rm "$root/usr/sbin/policy-rc.d"
    tar --create --directory /mnt/upper --xattrs --xattrs-include='*' --exclude=./var/lib/apt/lists/?* --file "$archive" .
}

# Process 1 must end when standard input does.
exec 3<&0
cat <&3 >/dev/null &
prepare "$@" 3<&- &
wait -n
