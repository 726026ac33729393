# Makes this machine's configuration from kubeadm's join command, with the programs of a directory as the projects' files, and
# flannel's identity from `hostlet config flannel-rbac`. Arguments: the directory of the programs, the runtime's unit.
set -euo pipefail
programs=$1 unit=$2
control=/srv/control mirror=/srv/mirror
kubectl() { "$programs/kubectl" --kubeconfig=$control/super-admin.conf "$@"; }
case $(uname -m) in aarch64) arch=arm64 ;; *) arch=amd64 ;; esac
mkdir -p $mirror /etc/hostlet/hostlet.d

hostlet config from "$("$programs/kubeadm" token create --print-join-command --kubeconfig=$control/super-admin.conf)"
# Without validation: that asks for the API's description, which a server may publish a little later.
hostlet config flannel-rbac | kubectl apply --validate=false --filename=- >/dev/null
secret() { kubectl --namespace=kube-flannel get secret flannel-token --output='jsonpath={.data.token}'; }
until [ -n "$(secret)" ]; do sleep 0.2; done
(umask 077 && secret | base64 --decode >/etc/hostlet/flannel-token)

version_of() { "$@" 2>&1 | sed -n 's/.*\bv\([0-9][0-9.]*[-0-9a-z.]*\).*/\1/p' | head -n1; }
source_of() { printf '[sources.%s]\nurl = "%s"\n' "$1" "$2"; }
# The digests that hostlet knows are of the projects' own builds; these may be other ones.
known() { printf '%s,%s,%s,%s\n' "$1" "$2" "$arch" "$(sha256sum "$3" | cut -d' ' -f1)" >>$mirror/catalog.csv; }
for program in "$programs/kubelet" "$programs/previous-kubelet"; do
    version=$(version_of "$program" --version)
    cp "$program" "$mirror/kubelet-$version"
    known kubelet "$version" "$program"
done
cp "$programs/flanneld" "$mirror/flanneld"
cp "$programs/flannel" "/tmp/flannel-$arch"
tar -czf $mirror/flannel-cni.tgz --directory /tmp "flannel-$arch"
tar -czf $mirror/cni-plugins.tgz --directory "$programs" ./bridge ./host-local ./loopback ./portmap
flannel=$(version_of "$programs/flanneld" --version) plugins=$(version_of "$programs/bridge") plugin=$(version_of "$programs/flannel")
known flanneld "$flannel" $mirror/flanneld
known cni-plugins "$plugins" $mirror/cni-plugins.tgz
known flannel-cni "$plugin" $mirror/flannel-cni.tgz
cgroup_v1=false
[ "$(stat --file-system --format=%T /sys/fs/cgroup)" != cgroup2fs ] || cgroup_v1=true
swap=true
[ "$(wc -l </proc/swaps)" -le 1 ] || swap=false
{
    printf '[kubelet]\nversion = "%s"\n' "$(version_of "$programs/previous-kubelet" --version)"
    printf 'config = { failCgroupV1 = %s, failSwapOn = %s }\n' $cgroup_v1 $swap
    printf '[runtime]\nunit = "%s"\n' "$unit"
    printf '[flannel]\nversion = "%s"\n' "$flannel"
    printf '[cni]\nversion = "%s"\nflannel-version = "%s"\n' "$plugins" "$plugin"
    printf '[sources]\nbuiltin-catalog = false\ncatalog-file = "%s/catalog.csv"\n' $mirror
    source_of kubelet "$mirror/kubelet-{version}"
    source_of flanneld $mirror/flanneld
    source_of cni-plugins $mirror/cni-plugins.tgz
    source_of flannel-cni $mirror/flannel-cni.tgz
} >/etc/hostlet/hostlet.d/50-programs.toml
cat /etc/hostlet/hostlet.d/50-programs.toml
