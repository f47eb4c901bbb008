# needs: kube-apiserver kubelet cri-o crictl coredns-image busybox-image
# Tests CRI-O: it loads the same images without a network, and the limits and OOM scores of pods are set.
K="usernetes kubectl"
own_image
say "install --cri crio"
"$U" install --cri crio
$K get nodes -o wide | grep cri-o://
usernetes crictl images | grep busybox
$K delete pod --ignore-not-found --now guaranteed
$K apply -f - <<Y
apiVersion: v1
kind: Pod
metadata: { name: guaranteed }
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: c
      image: docker.io/library/busybox:1.37
      imagePullPolicy: Never
      command: [sh, -c, "trap 'exit 0' TERM; echo started; while :; do sleep 1; done"]
      resources: { limits: { memory: 42Mi, cpu: 420m } }
Y
$K wait --for=condition=Ready pod/guaranteed --timeout=180s
within 60 "its log" sh -c "$K logs guaranteed | grep started"
[ "$($K exec guaranteed -- cat /sys/fs/cgroup/memory.max)" = 44040192 ] || fail "memory.max"
[ "$($K exec guaranteed -- cat /sys/fs/cgroup/cpu.max)" = "42000 100000" ] || fail "cpu.max"
say "limits hold; the score for the case that memory runs out: $($K exec guaranteed -- cat /proc/self/oom_score_adj)"
within 60 "the cluster's names" sh -c "$K exec guaranteed -- nslookup kubernetes.default.svc.cluster.local"
say "an image of the user's own"
usernetes image load mine.tar
own_image_runs
usernetes image rm docker.io/library/mine:1
rm mine.tar
if usernetes crictl images | grep library/mine; then fail "it is still there"; fi
say "back to containerd"
$K delete pod guaranteed
"$U" install --cri containerd
$K get nodes -o wide | grep containerd://
