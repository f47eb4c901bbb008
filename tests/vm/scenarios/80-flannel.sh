# needs: kube-apiserver kubelet flannel coredns-image busybox-image
# Tests flannel, the network for several machines, on a single machine.
K="usernetes kubectl"
say "install --cni flannel"
"$U" install --cni flannel --pods 10.5.0.0/16
usernetes nsenter ip -d link show flannel.1 | grep vxlan
usernetes nsenter cat /run/flannel/subnet.env
$K delete pod --ignore-not-found --now connected
$K run connected --image=docker.io/library/busybox:1.37 --image-pull-policy=Never --command -- sh -c 'sleep 100000'
$K wait --for=condition=Ready pod/connected --timeout=180s
$K get pod connected -o jsonpath='{.status.podIP}' | grep '^10\.5\.' || fail "an address of another network"
within 60 "the cluster's names" sh -c "$K exec connected -- nslookup kubernetes.default.svc.cluster.local"
$K exec connected -- nc -w 5 10.0.0.1 443 </dev/null || fail "10.0.0.1:443"
$K delete pod --now connected
