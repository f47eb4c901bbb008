# needs: kube-apiserver kubelet flannel cri-o crictl coredns-image busybox-image
# guests: 3
# Tests a machine with CRI-O beside two with containerd.
K="usernetes kubectl"
# on a
found_cluster
usernetes token create --reusable >token
# copy a:token b:token
# copy a:token c:token
# on b
member
# on c
member --cri crio
usernetes status --wait=60
# on a
$K get nodes -o wide
runtimes=$($K get nodes -o jsonpath='{range .items[*]}{.metadata.name}={.status.nodeInfo.containerRuntimeVersion}{"\n"}{end}' | cut -d: -f1 | xargs)
[ "$runtimes" = "a=containerd b=containerd c=cri-o" ] || fail "$runtimes"
web a b c
for n in a b c; do within 90 "a pod of $n reaches all" web_reaches $n a b c; done
for n in a b c; do
    within 30 "the log of web-$n" sh -c "$K logs web-$n | grep -x started"
    [ "$($K exec web-$n -- hostname)" = web-$n ] || fail "exec"
done
