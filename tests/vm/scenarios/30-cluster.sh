# needs: kube-apiserver kubelet coredns-image
# Installs the bundle until the node is Ready, without a network. A second install must not restart anything.
say "install"
time "$U" install --start u7s.target
usernetes kubectl get nodes -o wide
usernetes kubectl get pods -A -o wide
usernetes kubectl wait --for=condition=Ready node --all --timeout=10s
usernetes kubectl -n kube-system wait --for=condition=Available deployment/coredns --timeout=10s
usernetes status
say "install again"
main_pids() { systemctl --user show -p MainPID --value u7s-rootlesskit u7s-etcd u7s-kube-apiserver u7s-kube-scheduler u7s-kube-controller-manager u7s-kubelet-containerd u7s-kube-proxy; }
before=$(main_pids)
time "$U" install --start u7s.target
[ "$before" = "$(main_pids)" ] || fail "a second install restarted something"
say "units are clean"
systemd-analyze --user verify ~/.config/systemd/user/u7s-*.service ~/.config/systemd/user/u7s-*.target
