# needs: kube-apiserver kubelet etcd flannel coredns-image busybox-image
# guests: 2 empty
# takes: an hour
# Kills `join` at random instants: the next `join` succeeds, and nothing is left over. Then it cuts the power of the control plane at
# random instants while another machine writes: what was acknowledged is there afterwards.
K="usernetes kubectl"
# instant SECONDS: waits for a random part of this time.
instant() {
    local part
    part=$(awk -v whole="$1" -v part=$RANDOM 'BEGIN { printf "%.2f", whole * part / 32767 }')
    say "after $part s"
    sleep "$part"
}
# as_admin WORD…: kubectl on b, with the administrator's rights on a.
as_admin() { "$BIN/kubectl" --kubeconfig admin "$@"; }
# writes SECONDS: until a loses its power, b writes, and notes what was acknowledged.
writes() {
    rm -f stop
    systemd-run --user --quiet --collect --unit=writer --same-dir ./writer
    sleep 5
    instant "$1"
}
# whole: waits until a is back, and fails if a write that was acknowledged is not there.
whole() {
    within 300 "a is back" as_admin get --raw /readyz --request-timeout=5s
    touch stop
    within 60 "the client ends" sh -c '! systemctl --user is-active writer'
    as_admin get configmaps -o name | sort >stored
    sort acknowledged | comm -23 - stored >lost
    say "acknowledged: $(wc -l <acknowledged), lost: $(wc -l <lost)"
    [ ! -s lost ] || fail "writes are lost: $(cat lost)"
}
# on a
found_cluster
usernetes token create --reusable --ttl 12h >token
sed "s#https://127.0.0.1:#https://$(address a):#" ~/.config/usernetes/master/admin-localhost.kubeconfig >admin
# copy a:token b:token
# copy a:admin b:admin
# on b
home_and_runtime >before
start=$SECONDS
"$U" join <token
took=$((SECONDS - start))
say "join takes $took s"
for number in $(seq 10); do
    as_admin delete node b
    "$U" uninstall --purge
    home_and_runtime | diff before - || fail "uninstall has left something"
    setsid "$U" join <token >killed.log 2>&1 &
    instant "$took"
    kill -KILL -- -$! 2>/dev/null || true
    wait $! || true
    say "killed join number $number: $(grep . killed.log | tail -1)"
    rm killed.log
    "$U" join <token
    usernetes status --wait=60
    "$U" verify
done
: >acknowledged
cat >writer <<'W'
#!/bin/bash
until [ -e stop ]; do
    name=configmap/written-$(date +%s%N)
    if timeout 20 .local/share/usernetes/current/bin/kubectl --kubeconfig admin create configmap "${name#*/}" --request-timeout=5s >/dev/null 2>&1; then
        echo "$name" >>acknowledged
    fi
done
W
chmod +x writer
writes 20
# kill a
# start a
# on b
whole
writes 20
# kill a
# start a
# on b
whole
writes 20
# kill a
# start a
# on b
whole
writes 20
# kill a
# start a
# on b
whole
writes 20
# kill a
# start a
# on b
whole
writes 20
# kill a
# start a
# on b
whole
writes 20
# kill a
# start a
# on b
whole
writes 20
# kill a
# start a
# on b
whole
writes 20
# kill a
# start a
# on b
whole
writes 20
# kill a
# start a
# on b
whole
# on a
ready "at the end"
# on b
rm -f stop acknowledged stored lost writer
