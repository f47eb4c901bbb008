# needs: kube-apiserver kubelet coredns-image
# Tests that everything runs again after `kill -9` of each process, after a restart of the namespaces, and after a reboot.
K="usernetes kubectl"
ready() { within 300 "$1: API, node and CoreDNS are back" sh -c "usernetes kubectl get --raw /readyz && usernetes kubectl wait --for=condition=Ready node --all --timeout=5s && usernetes kubectl -n kube-system wait --for=condition=Available deployment/coredns --timeout=5s && ! usernetes status | grep -E ' (starting|stopped|broken) '"; }
for program in kube-scheduler kube-controller kube-proxy kubelet etcd kube-apiserver containerd slirp4netns rootlesskit; do
    say "kill -9 $program"
    pkill -9 -x "$program" || fail "no process $program"
    sleep 3
    ready "$program"
done
say "systemctl --user restart u7s-rootlesskit"
systemctl --user restart u7s-rootlesskit
ready "restart"
# reboot
ready "reboot"
