# Runs the CRI-O of a directory, with the distribution's runc, in the place of containerd. Argument: the directory of the
# programs.
set -euo pipefail
programs=$1
systemctl disable --now --quiet containerd
rm -f /run/containerd/containerd.sock
mkdir -p /etc/crio/crio.conf.d /etc/containers /var/lib/containers
# What this machine does not let it do: overlays on overlays.
mount -t tmpfs tmpfs /var/lib/containers
cat >/etc/crio/crio.conf.d/10-real.conf <<END
[crio]
storage_driver = "overlay"
[crio.runtime]
default_runtime = "runc"
pinns_path = "$programs/pinns"
[crio.runtime.runtimes.runc]
runtime_path = "$(command -v runc)"
monitor_path = "$programs/conmon"
[crio.network]
plugin_dirs = ["/opt/cni/bin/"]
END
echo '{ "default": [{ "type": "insecureAcceptAnything" }] }' >/etc/containers/policy.json
for location in registry.k8s.io example.test; do
    printf '[[registry]]\nlocation = "%s"\n[[registry.mirror]]\nlocation = "127.0.0.1:5000"\ninsecure = true\n' $location
done >/etc/containers/registries.conf
cat >/etc/systemd/system/crio.service <<END
[Service]
Type=notify
ExecStart=$programs/crio
Environment=PATH=$programs:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
KillMode=process
[Install]
WantedBy=multi-user.target
END
systemctl daemon-reload
systemctl enable --now --quiet crio
