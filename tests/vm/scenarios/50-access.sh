# needs: kube-apiserver kubelet coredns-image
# Tests that access is refused: to the service accounts of pods, to the kubelet for other nodes, and to anonymous clients.
K="usernetes kubectl"
[ "$($K auth can-i list secrets --as=system:serviceaccount:default:default --as-group=system:authenticated --as-group=system:serviceaccounts || true)" = no ] || fail "a pod's account may list secrets"
NODE=$($K get nodes -o name | sed -n 1p)
kubelet() { usernetes nsenter kubectl --kubeconfig "$HOME/.config/usernetes/node/node.kubeconfig" "$@"; }
kubelet get "$NODE" >/dev/null || fail "the kubelet cannot read its own node"
say "the kubelet reads its own node"
refused() {
    local answer
    answer=$("${@:2}" 2>&1) && fail "$1: answered"
    echo "$answer" | grep -qiE 'forbidden|unauthorized' || fail "$1: $answer"
    say "$1: refused"
}
refused "another node, to the kubelet" kubelet get nodes/another
refused "all secrets, to the kubelet" kubelet get secrets -A
for url in https://127.0.0.1:6443/api/v1/secrets https://127.0.0.1:10250/pods; do
    code=$(usernetes nsenter curl -sk -o /dev/null -w '%{http_code}' "$url")
    case $code in 401 | 403) say "anonymous request for $url: $code" ;; *) fail "anonymous request for $url: $code" ;; esac
done
