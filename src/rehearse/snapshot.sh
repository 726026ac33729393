# What a run of hostlet could change, as lines of name, tab, state. With QUICK set systemd is asked only for the state of its
# units, and not for their files and processes: that takes longer than all the rest.
places=()
for place in /etc /opt/hostlet /opt/cni /var/lib/hostlet /var/cache/hostlet /var/lib/kubelet /var/lib/cni /run/hostlet /run/flannel \
    /run/systemd/system /run/systemd/transient; do
    [ -e "$place" ] && places+=("$place")
done
# Only what lies directly in these: a machine may keep much below them.
shallow=(/ /opt /usr/local /usr/local/bin /usr/local/sbin /var/lib /var/cache /root)
# One file system only: a tmpfs below the kubelet's root directory shows as a mount. machine-id and the time of a directory
# change by themselves.
{
    find "${places[@]}" -xdev -print0
    find "${shallow[@]}" -mindepth 1 -maxdepth 1 -print0
} | sort --zero-terminated --unique | find -files0-from - -maxdepth 0 ! -path '/etc/machine-id' \
    \( -type d -printf 'file %p\t%y %m %U:%G\n' -o -printf 'file %p\t%y %m %U:%G %s %T@ %i %l\n' \)
find "${places[@]}" -xdev -type f -size -256k ! -path '/etc/machine-id' -exec sha256sum -- {} + | sed -E 's/^([0-9a-f]+) .(.*)$/digest \2\t\1/'
if [ -n "${QUICK-}" ]; then
    systemctl list-units --all --no-legend --no-pager --plain --type=service,socket,mount,automount,path,timer |
        awk '{ print "unit " $1 "\tId=" $1 " LoadState=" $2 " ActiveState=" $3 " SubState=" $4 }'
    systemctl show --property=Id,NeedDaemonReload kubelet.service flanneld.service hostlet-recover.service \
        hostlet-responder.socket hostlet-responder.service |
        awk -v RS= '{ print "unit-file " $1 "\t" $2 }'
else
    systemctl list-unit-files --no-legend --no-pager --plain | awk '{ print "unit-file " $1 "\t" $2 }'
    systemctl list-units --all --no-legend --no-pager --plain --type=service,socket,mount,automount,path,timer | awk '{ print $1 }' |
        # Lines, so that the backslashes of escaped mount units stay.
        xargs --delimiter="\n" systemctl show --property=Id,LoadState,ActiveState,SubState,MainPID,NRestarts,NeedDaemonReload -- |
        awk -v RS= '{ gsub("\n", " "); match($0, /Id=[^ ]+/); name = substr($0, RSTART + 3, RLENGTH - 3); print "unit " name "\t" $0 }'
fi |
    # The harness's own, those that run by themselves, whenever they like, and mounts of the boot that systemd hears of late.
    grep -v -e '^unit run-netns' -e '^unit run-credentials-' -e '^unit proc-sys-' -e '^unit systemd-tmpfiles-clean\.' -e '^unit systemd-hostnamed\.' -e '^unit systemd-timedated\.' -e '^unit systemd-localed\.'
awk '{ options = ""; for (i = 7; $i != "-"; i++) options = options " " $i; print "mount " $5 " #" ++count[$5] "\t" $4 " " $6 options }' /proc/1/mountinfo
ip -oneline link | awk '{ name = $2; $1 = ""; print "link " name "\t" $0 }'
ip -4 -oneline address | awk '{ print "address " $2 " " $4 "\t" $0 }' | sed -E 's/valid_lft.*//'
ip -4 route show table all | awk '{ print "route " $0 "\tpresent" }'
# One process for all of them; the values of routes and neighbours change by themselves.
find /proc/sys/net/ipv4 /proc/sys/net/ipv6/conf/all /proc/sys/net/bridge /proc/sys/net/netfilter -maxdepth 3 -type f -readable \
    ! -path '*/route/*' ! -path '*/neigh/*' ! -name '*count' ! -name 'stable_secret' -print0 2>/dev/null |
    xargs --null awk 'FNR == 1 { print "sysctl " substr(FILENAME, 11) "\t" $0 }' 2>/dev/null || true
grep -E '^(br_netfilter|overlay|vxlan|nf_conntrack|wireguard) ' /proc/modules | awk '{ print "module " $1 "\tloaded" }' || true
