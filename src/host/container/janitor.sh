# Runs a script as process 1 of mount and pid namespaces of its own, in a cgroup of its own, and tidies up after it.
#
# Process 1 ends when its standard input does, and its end is the end of every process and every mount in there: so when
# whoever started this is killed, nothing is left. What survives a pid namespace is its cgroup; it is removed here.
# Arguments: a name that nobody else uses, the script, its arguments. Prints `cgroup DIRECTORY` for each hierarchy.
set -u
name=$1 script=$2
shift 2
# Ctrl-C and kill reach whoever started this; the end of standard input is what counts here.
trap '' INT TERM HUP PIPE

# systemd allows other writers only below a unit with Delegate=.
if [ -d /run/systemd/system ] && [ -z "${HOSTLET_SCOPE-}" ]; then
    export HOSTLET_SCOPE=yes
    exec systemd-run --quiet --scope --collect --unit="$name" --property=Delegate=yes \
        bash -c "$BASH_EXECUTION_STRING" janitor "$name" "$script" "$@"
fi

remove_cgroup() { find "$1" -depth -type d -exec rmdir {} + 2>/dev/null; }

origins=() cgroups=()
# Read whole: moving changes it.
own=$(</proc/self/cgroup)
while IFS=: read -r _ hierarchy path; do
    case $hierarchy in
    name=systemd) mounted=/sys/fs/cgroup/systemd ;;
    '') if [ -f /sys/fs/cgroup/cgroup.controllers ]; then mounted=/sys/fs/cgroup; else mounted=/sys/fs/cgroup/unified; fi ;;
    *) continue ;;
    esac
    [ -f "$mounted$path/cgroup.procs" ] || continue
    cgroup=$mounted${path%/}
    origins+=("$cgroup")
    if [ -z "${HOSTLET_SCOPE-}" ]; then
        # Those whose owner and janitor were both killed.
        for stale in "$cgroup"/hostlet-rehearsal-*; do
            owner=${stale##*/hostlet-rehearsal-}
            [ -d "/proc/${owner%%-*}" ] || remove_cgroup "$stale"
        done
        cgroup=$cgroup/$name
        mkdir "$cgroup"
    fi
    # Processes may not stay in the inner nodes of cgroup v2: systemd-nspawn needs this one empty.
    mkdir "$cgroup/harness" && echo $$ >"$cgroup/harness/cgroup.procs"
    cgroups+=("$cgroup")
    echo "cgroup $cgroup"
done <<<"$own"

CGROUPS="${cgroups[*]}" unshare --mount --pid --fork --kill-child --mount-proc --propagation private \
    bash -c "$script" "$name" "$@"
status=$?

# A scope's cgroups are systemd's to remove.
[ -z "${HOSTLET_SCOPE-}" ] || exit "$status"
for index in "${!cgroups[@]}"; do
    echo $$ >"${origins[index]}/cgroup.procs"
    # The kernel takes a moment to let go of processes that it has killed.
    for _ in $(seq 100); do
        remove_cgroup "${cgroups[index]}"
        [ -d "${cgroups[index]}" ] || break
        sleep 0.02
    done
done
exit "$status"
