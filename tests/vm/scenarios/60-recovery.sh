# needs: kube-apiserver kubelet coredns-image
# Tests that everything runs again after `kill -9` of each process, after a restart of the namespaces, and after a reboot.
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
