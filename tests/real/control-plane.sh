# Starts etcd, kube-apiserver and kube-controller-manager in the network beside the node, and makes what kubeadm makes:
# certificates, kubeconfigs, the bootstrap token with its roles, and cluster-info. Arguments: the directory of the programs,
# the control plane's address, the version, the token.
set -euo pipefail
programs=$1 address=$2 version=$3 token=$4
control=/srv/control
mkdir -p $control
cat >$control/kubeadm.yaml <<END
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
bootstrapTokens: [{ token: "$token", ttl: 24h }]
localAPIEndpoint: { advertiseAddress: $address, bindPort: 6443 }
nodeRegistration: { name: control, criSocket: "unix:///run/none.sock" }
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: v$version
certificatesDir: $control/pki
controlPlaneEndpoint: "$address:6443"
networking: { podSubnet: 10.244.0.0/16, serviceSubnet: 10.96.0.0/12 }
END
kubeadm() { "$programs/kubeadm" "$@" --config $control/kubeadm.yaml; }
kubeadm init phase certs all >/dev/null
kubeadm init phase kubeconfig all --kubeconfig-dir $control >/dev/null 2>&1

start() {
    local unit=$1
    shift
    systemd-run --quiet --unit="$unit" --property=NetworkNamespacePath=/run/netns/gateway --property=Restart=on-failure "$@"
}
pki=$control/pki
start etcd "$programs/etcd" --data-dir=/srv/etcd
# As kubeadm's static pods have it, but for etcd's certificates.
start kube-apiserver "$programs/kube-apiserver" --advertise-address="$address" --allow-privileged=true \
    --authorization-mode=Node,RBAC --client-ca-file=$pki/ca.crt --enable-admission-plugins=NodeRestriction \
    --enable-bootstrap-token-auth=true --etcd-servers=http://127.0.0.1:2379 \
    --kubelet-client-certificate=$pki/apiserver-kubelet-client.crt --kubelet-client-key=$pki/apiserver-kubelet-client.key \
    --kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname \
    --requestheader-client-ca-file=$pki/front-proxy-ca.crt --requestheader-allowed-names=front-proxy-client \
    --requestheader-extra-headers-prefix=X-Remote-Extra- --requestheader-group-headers=X-Remote-Group \
    --requestheader-username-headers=X-Remote-User --proxy-client-cert-file=$pki/front-proxy-client.crt \
    --proxy-client-key-file=$pki/front-proxy-client.key --secure-port=6443 \
    --service-account-issuer=https://kubernetes.default.svc.cluster.local --service-account-key-file=$pki/sa.pub \
    --service-account-signing-key-file=$pki/sa.key --service-cluster-ip-range=10.96.0.0/12 \
    --tls-cert-file=$pki/apiserver.crt --tls-private-key-file=$pki/apiserver.key
start kube-controller-manager "$programs/kube-controller-manager" --allocate-node-cidrs=true --cluster-cidr=10.244.0.0/16 \
    --service-cluster-ip-range=10.96.0.0/12 --cluster-signing-cert-file=$pki/ca.crt --cluster-signing-key-file=$pki/ca.key \
    --controllers='*,bootstrapsigner,tokencleaner' --kubeconfig=$control/controller-manager.conf \
    --authentication-kubeconfig=$control/controller-manager.conf --authorization-kubeconfig=$control/controller-manager.conf \
    --client-ca-file=$pki/ca.crt --requestheader-client-ca-file=$pki/front-proxy-ca.crt --leader-elect=false \
    --root-ca-file=$pki/ca.crt --service-account-private-key-file=$pki/sa.key --use-service-account-credentials=true

kubectl() { "$programs/kubectl" --kubeconfig=$control/super-admin.conf "$@"; }
until kubectl get --raw /readyz >/dev/null 2>&1; do sleep 0.5; done
kubeadm init phase bootstrap-token --kubeconfig=$control/super-admin.conf >/dev/null
# The signature over cluster-info is the controller manager's.
until kubectl --namespace=kube-public get configmap cluster-info --output=yaml | grep --quiet jws-kubeconfig; do sleep 0.5; done
kubectl get --raw /version
