# needs: kube-apiserver kubelet coredns-image
# Who may not: pods' accounts, the kubelet beyond its node, anybody without a name.
K="usernetes kubectl"
[ "$($K auth can-i list secrets --as=system:serviceaccount:default:default || true)" = no ] || fail "a pod's account may list secrets"
NODE=$($K get nodes -o name | head -n 1)
kubelet="$K --kubeconfig $HOME/.config/usernetes/node/node.kubeconfig"
usernetes nsenter true
$kubelet get "$NODE" >/dev/null || fail "the kubelet cannot read its own node"
say "the kubelet reads its own node"
! $kubelet get nodes/another 2>&1 | grep -q '^NAME' || fail "the kubelet reads another node"
$kubelet get secrets -A 2>&1 | grep -qi forbidden || fail "the kubelet may list all secrets"
say "anonymous requests"
code() { usernetes nsenter curl -sk -o /dev/null -w '%{http_code}' "$1"; }
for url in https://127.0.0.1:6443/api/v1/secrets https://127.0.0.1:10250/pods; do
    case $(code "$url") in 401 | 403) say "$url: refused" ;; *) fail "$url: $(code "$url")" ;; esac
done
