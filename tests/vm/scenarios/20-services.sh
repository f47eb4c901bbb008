# needs: etcd containerd rootlesskit
# lacks: kube-apiserver
# Tests a bundle without the API server: namespaces, etcd with our certificates, containers, ports, restarts.
say "install"
"$U" install --start ""
systemd-analyze --user verify ~/.config/systemd/user/u7s-*.service ~/.config/systemd/user/u7s-*.target
say "units verified"
usernetes start u7s-rootlesskit.service
usernetes start u7s-etcd.target
usernetes status || true
within 60 "etcd is healthy, asked over TLS with our client certificate" usernetes etcdctl endpoint health
usernetes etcdctl put scenario passed
usernetes etcdctl get scenario | grep passed
say "etcd refuses who has no certificate"
if usernetes nsenter etcdctl --endpoints https://127.0.0.1:2379 --cacert ~/.config/usernetes/master/etcd-ca.pem --command-timeout 3s endpoint health; then
    fail "etcd answered without a client certificate"
fi
say "a container"
root=$HOME/rootfs
mkdir -p "$root/bin"
cp /usr/bin/busybox "$root/bin/"
usernetes ctr run --rm --runc-binary "$BIN/crun" --rootfs "$root" hello /bin/busybox echo "hello from a container" | grep "hello from a container"
say "a published port"
usernetes nsenter busybox nc -l -p 8080 -e echo "hello through the port" </dev/null >/dev/null 2>&1 &
usernetes rootlessctl add-ports 127.0.0.1:18080:8080/tcp
within 20 "an answer on the host" sh -c 'busybox nc 127.0.0.1 18080 </dev/null | grep "hello through"'
say "kill -9 etcd: it comes back"
pkill -9 -x etcd
within 60 "etcd is back" usernetes etcdctl endpoint health
usernetes etcdctl get scenario | grep passed
say "stop"
usernetes stop
[ -z "$(systemctl --user list-units 'u7s-*.service' --state=active --plain --no-legend)" ] || fail "units are still active"
say "a port is taken: RootlessKit is tried again, but not all the time"
since=$(date +%s)
busybox httpd -f -p 127.0.0.1:6443 -h /tmp &
squatter=$!
systemctl --user start --no-block u7s-rootlesskit.service u7s-etcd.target
sleep 35
attempts=$(journalctl --user -u u7s-rootlesskit --since "@$since" --no-pager | grep -c "Starting u7s-rootlesskit" || true)
say "$attempts attempts in 35 s"
[ "$attempts" -ge 2 ] && [ "$attempts" -le 4 ] || fail "$attempts attempts"
kill $squatter
within 60 "etcd is up when the port is free" usernetes etcdctl endpoint health
usernetes stop
