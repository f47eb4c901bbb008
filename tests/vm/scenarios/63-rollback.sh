# needs: kube-apiserver kubelet coredns-image newer-release
# Tests an upgrade to a newer release and the way back, which is a way back of etcd's data if etcd's minor version is newer.
# release newer
version() { usernetes etcdctl endpoint status --write-out=json | sed 's/.*"version":"\([0-9]*\.[0-9]*\).*/\1/'; }
ready "before"
usernetes kubectl create configmap before
pods | cut -d" " -f1 >pods.before
old=$(version)
chmod +x newer
"$U" upgrade newer
ready "the newer release"
new=$(version)
pods | cut -d" " -f1 | diff pods.before - || fail "the pods are not the same"
usernetes kubectl create configmap after
say "etcd $old became $new; back"
usernetes rollback
ready "the older release"
[ "$(version)" = "$old" ] || fail "etcd is not $old again"
usernetes kubectl get configmap before
if [ "$old" != "$new" ]; then
    if usernetes kubectl get configmap after; then fail "etcd $old reads what etcd $new wrote"; fi
fi
usernetes kubectl delete configmap --ignore-not-found before after
rm pods.before newer
