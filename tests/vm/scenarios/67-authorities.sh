# needs: kube-apiserver kubelet coredns-image
# Tests that the authorities are replaced while pods run: no pod of a user restarts, and nobody is locked out before the end.
K="usernetes kubectl"
PKI=$HOME/.config/usernetes/master
usernetes image list | grep pause || true
PAUSE=$(usernetes ctr -n k8s.io images ls -q | grep '/pause:' | head -n 1)
ready "before"
$K apply -f - <<Y
apiVersion: v1
kind: Pod
metadata: { name: holder }
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - { name: c, image: "$PAUSE", imagePullPolicy: Never }
Y
$K wait --for=condition=Ready pod/holder --timeout=180s
NODE=$($K get nodes -o jsonpath='{.items[0].metadata.name}')
POD=$($K get pod holder -o jsonpath='{.metadata.uid}')
state() { $K get pod holder -o jsonpath='{.metadata.uid} {.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].containerID}'; }
# A file of the pod's account, as the pod sees it.
mounted() { usernetes nsenter sh -c "cat /var/lib/kubelet/pods/$POD/volumes/kubernetes.io~projected/*/$1"; }
# with_token TOKEN: asks the API server with this token, and trusts the authorities that the pod trusts.
: >no.kubeconfig
with_token() {
    mounted ca.crt >ca.crt
    $K --kubeconfig=no.kubeconfig --server=https://127.0.0.1:6443 --certificate-authority=ca.crt --token="$1" auth whoami
}
authorities() { grep -c BEGIN; }
same_pod() { [ "$(state)" = "$BEFORE" ] || fail "$1: the pod was restarted: $BEFORE is now $(state)"; }
# works TEXT: all parts of the cluster that one of the keys is for.
works() {
    ready "$1"
    same_pod "$1"
    $K get --raw "/api/v1/nodes/$NODE/proxy/healthz" | grep -q ok || fail "$1: the API server does not reach the kubelet"
    $K -n kube-system delete configmap kube-root-ca.crt >/dev/null
    within 60 "$1: the controller manager works" $K -n kube-system get configmap kube-root-ca.crt
    $K delete service fresh --ignore-not-found >/dev/null
    $K create service clusterip fresh --tcp=80 >/dev/null
    within 60 "$1: CoreDNS sees new services" usernetes nsenter busybox nslookup fresh.default.svc.cluster.local 10.0.0.10
    with_token "$(mounted token)" >/dev/null || fail "$1: the pod's own token"
}
BEFORE=$(state)
cp "$PKI/admin-localhost.kubeconfig" old.kubeconfig
OLD=$($K create token default --duration=2h)
FIRST=$(mounted token)
works "before"

say "interrupted in the middle"
timeout -s KILL 25 usernetes certs rotate-authorities || true
usernetes certs rotate-authorities --status
ready "interrupted"
time usernetes certs rotate-authorities
usernetes certs rotate-authorities --status | tee status
grep -q -- '--finish' status || fail "not all of the first part was done"
works "both trusted"
[ "$(authorities <"$PKI/ca.pem")" = 2 ] || fail "not two authorities"
$K --kubeconfig=old.kubeconfig get nodes >/dev/null || fail "the old kubeconfig is refused too early"
with_token "$OLD" || fail "an old token is refused too early"
within 300 "the pod has a new token" sh -c "[ \"\$(usernetes nsenter sh -c 'cat /var/lib/kubelet/pods/$POD/volumes/kubernetes.io~projected/*/token')\" != '$FIRST' ]"
[ "$(mounted ca.crt | authorities)" = 2 ] || fail "the pod does not know both authorities"
usernetes certs rotate-authorities | grep . || true
same_pod "repeated"

say "the end is refused while tokens may be old"
if usernetes certs rotate-authorities --finish 2>refused; then fail "not refused"; fi
cat refused
grep -q 'still in use' refused || fail "refused for another reason"
time usernetes certs rotate-authorities --finish --force
within 300 "the pod knows the new authority only" sh -c "[ \"\$(usernetes nsenter sh -c 'cat /var/lib/kubelet/pods/$POD/volumes/kubernetes.io~projected/*/ca.crt' | grep -c BEGIN)\" = 1 ]"
works "only the new ones trusted"
[ "$(authorities <"$PKI/ca.pem")" = 1 ] || fail "not one authority"
[ ! -e "$PKI/rotation" ] || fail "something is left"
if $K --kubeconfig=old.kubeconfig get nodes 2>refused; then fail "the old kubeconfig is still accepted"; fi
cat refused
# With the new authority, only the certificate is old.
$K config --kubeconfig=old.kubeconfig set-cluster usernetes --certificate-authority="$PKI/ca.pem" --embed-certs >/dev/null
if $K --kubeconfig=old.kubeconfig get nodes 2>refused; then fail "the old certificate is still accepted"; fi
cat refused
if with_token "$OLD" 2>refused; then fail "an old token is still accepted"; fi
cat refused
if usernetes certs list | grep -E 'expired|not valid|not issued'; then fail "a certificate is not valid"; fi
$K delete service fresh >/dev/null
$K delete pod holder >/dev/null
rm -f old.kubeconfig no.kubeconfig ca.crt refused status
