# needs: kube-apiserver kubelet coredns-image busybox-image
# Tests that a pod which takes all memory, processes or disk is ended, while the API server answers all the time.
K="usernetes kubectl"
IMAGE=docker.io/library/busybox:1.37
$K create namespace bounds 2>/dev/null || true
K="$K -n bounds"

say "the API server is asked all the time"
rm -f watch.failed watch.end
(
    while [ ! -e watch.end ]; do
        usernetes kubectl get --raw /readyz --request-timeout=10s >/dev/null 2>>watch.failed || date >>watch.failed
        sleep 1
    done
) &
watcher=$!
# It holds the output of this scenario open.
trap 'touch watch.end' EXIT

# pod NAME COMMAND…: starts a pod that runs the command once.
pod() {
    local name=$1
    shift
    $K run "$name" --image=$IMAGE --image-pull-policy=Never --restart=Never --command -- "$@"
}
# ended NAME: whether the pod was killed or evicted.
ended() { [ "$($K get pod "$1" -o jsonpath='{.status.phase}')" = Failed ]; }

say "one pod takes memory"
pod memory sh -c 'for i in 1 2 3 4 5 6 7 8; do dd if=/dev/zero of=/dev/null bs=2000M & done; wait'
within 300 "it is ended" ended memory
$K get pod memory -o jsonpath='{.status.reason} {.status.containerStatuses[0].state.terminated.reason}' | grep -E 'Evicted|OOMKilled'
$K delete pod --now memory

say "one pod forks"
pod forks sh -c 'bomb() { bomb & bomb & wait; }; bomb'
# Of its log only: kubectl's own complaints name the pod.
within 300 "it cannot fork any more" sh -c "$K logs forks 2>/dev/null | grep \"can't fork\""
$K delete pod --now forks

say "one pod fills the disk"
# A slow machine writes for longer than anybody waits, so 2 GiB are left to the pod.
free=$(df --output=avail -B1 ~ | tail -1)
if [ "$free" -gt $((3 << 30)) ]; then fallocate -l $((free - (2 << 30))) ballast; fi
pod disk sh -c 'dd if=/dev/zero of=/full bs=1M; sleep 1000'
within 600 "it is ended" ended disk
$K get pod disk -o jsonpath='{.status.reason}' | grep Evicted
$K delete pod --now disk
rm -f ballast

touch watch.end
wait $watcher
[ ! -s watch.failed ] || fail "the API server did not answer: $(cat watch.failed)"
# The kubelet takes no new pods for five minutes after the disk was full.
within 420 "the node takes pods again" sh -c '! usernetes kubectl get nodes -o jsonpath="{.items[*].spec.taints}" | grep pressure'
say "seccomp, runtime classes, and additions to the Corefile"
pod crun sh -c 'grep Seccomp: /proc/self/status'
within 180 "a filter of system calls" sh -c "$K logs crun | grep 2"
$K run runc --image=$IMAGE --image-pull-policy=Never --restart=Never --overrides='{"spec":{"runtimeClassName":"runc"}}' \
    --command -- sh -c 'grep Seccomp: /proc/self/status'
within 180 "a filter with runc, too" sh -c "$K logs runc | grep 2"
$K delete pod --now crun runc
printf '%s\n' 'added.example:53 {' '    hosts {' '        192.0.2.9 www.added.example' '    }' '}' >x.server
usernetes kubectl -n kube-system create configmap coredns-custom --from-file=x.server
usernetes kubectl -n kube-system rollout restart deployment coredns
usernetes kubectl -n kube-system rollout status deployment coredns --timeout=180s
usernetes install
usernetes kubectl -n kube-system get configmap coredns-custom
pod asks sh -c 'sleep 1000'
within 120 "a name of the user's own" sh -c "$K exec asks -- nslookup www.added.example | grep 192.0.2.9"
usernetes kubectl -n kube-system delete configmap coredns-custom
say "a network policy is a warning"
$K apply -f - <<Y
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: none }
spec: { podSelector: {} }
Y
usernetes status | grep 'nothing enforces them'
usernetes kubectl delete namespace bounds
