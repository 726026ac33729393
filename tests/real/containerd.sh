# Runs the containerd of a directory in the place of the distribution's, with what a node's administrator sets: systemd manages
# control groups, and CNI plugins lie where hostlet lays them. Argument: the directory of the programs.
set -euo pipefail
programs=$1
mkdir -p /etc/containerd/certs.d/_default /etc/systemd/system/containerd.service.d
systemctl stop containerd
# What this machine does not let it do: overlays on overlays, and lower oom scores.
mount -t tmpfs tmpfs /var/lib/containerd
cat >/etc/containerd/config.toml <<END
version = 3
[plugins.'io.containerd.cri.v1.images'.registry]
config_path = '/etc/containerd/certs.d'
[plugins.'io.containerd.cri.v1.runtime']
restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ['/opt/cni/bin']
conf_dir = '/etc/cni/net.d'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = 'io.containerd.runc.v2'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
SystemdCgroup = true
END
cat >/etc/containerd/certs.d/_default/hosts.toml <<END
[host.'http://127.0.0.1:5000']
capabilities = ['pull', 'resolve']
END
cat >/etc/systemd/system/containerd.service.d/50-real.conf <<END
[Service]
Environment=PATH=$programs:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ExecStart=
ExecStart=$programs/containerd
END
systemctl daemon-reload
systemctl start containerd
