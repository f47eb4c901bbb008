# needs: kube-apiserver kubelet etcd flannel coredns-image busybox-image
# guests: 3 empty
# Tests three control planes: the cluster goes on without one of them, says what is wrong without two, and loses no write. Two of
# them run no pods.
K="usernetes kubectl"
# answer NUMBER: whether so many members of etcd answer.
answer() { usernetes status | grep "etcd members.* $1 of 3 answer"; }
# whole: waits until this machine's part works, with all members.
whole() {
    ready "$1"
    within 120 "$1: all members" answer 3
}
# lost: fails if a write that was acknowledged is not there.
lost() {
    $K get configmaps -o name | sort >stored
    cut -d' ' -f2 acknowledged | sort | comm -23 - stored >lost
    say "acknowledged: $(wc -l <acknowledged), lost: $(wc -l <lost)"
    [ ! -s lost ] || fail "writes are lost: $(cat lost)"
}
# longest_pause: prints for how many seconds nothing was acknowledged at most.
longest_pause() { awk 'NR > 1 && $1 - last > most { most = $1 - last } { last = $1 } END { print most + 0 }' acknowledged; }
# acknowledges: whether writes are being acknowledged.
acknowledges() {
    local before
    before=$(wc -l <acknowledged)
    sleep 3
    [ "$(wc -l <acknowledged)" -gt "$before" ]
}
# on a
found_cluster
usernetes token create --control-plane >token
# copy a:token b:token
# on b
start=$SECONDS
"$U" join --control-plane --cri "" <token
say "joined after $((SECONDS - start)) s"
usernetes status | grep 'two members tolerate no failure' || fail "two members are no warning"
if "$U" join --control-plane --cri "" <token; then fail "the token was used twice"; fi
# on a
usernetes token create --control-plane >token
# copy a:token c:token
# on c
start=$SECONDS
"$U" join --control-plane --cri "" <token
say "joined after $((SECONDS - start)) s"
whole "c"
# on b
whole "b"
# on a
whole "a"
$K get nodes -o wide
web a
within 90 "a pod reaches itself" web_reaches a a
# on b
say "a loses its power while a client of b writes all the time"
: >acknowledged
cat >writer <<'W'
#!/bin/bash
number=0
until [ -e stop ]; do
    number=$((number + 1))
    if timeout 20 usernetes kubectl create configmap "written-$number" --request-timeout=5s >/dev/null 2>&1; then
        echo "$(date +%s) configmap/written-$number" >>acknowledged
    fi
    sleep 0.2
done
W
chmod +x writer
rm -f stop
systemd-run --user --quiet --unit=writer --same-dir --setenv=PATH="$PATH" ./writer
within 60 "the client writes" acknowledges
# kill a
# on b
within 60 "the client writes again" acknowledges
pause=$(longest_pause)
say "nothing was acknowledged for $pause s"
[ "$pause" -le 30 ] || fail "writes stood still for $pause s"
within 60 "a is missed" answer 2
within 90 "c answers, too" sh -c "usernetes kubectl --server=https://$(address c):6443 get nodes"
lost
# start a
# on a
whole "a is back"
# on b
touch stop
within 60 "the client ends" sh -c '! systemctl --user is-active writer'
lost
# kill a
# kill c
# on b
say "two of three are gone"
within 90 "status says so" sh -c "usernetes status | grep '1 of 3 answer; .*2 are needed, so nothing can be read or written'"
usernetes status || true
answer=$($K get configmaps --request-timeout=20s 2>&1) && fail "it was read"
say "$answer"
# start a
# start c
# on a
whole "a is back"
# on c
whole "c is back"
# on b
whole "b"
lost
$K delete configmaps --all --wait=false >/dev/null
rm -f stop acknowledged stored lost writer
# on a
say "c is removed"
usernetes node remove c
usernetes status | grep 'two members tolerate no failure' || fail "two members are no warning"
usernetes token create --control-plane >token
# copy a:token c:token
# on c
if "$U" join --control-plane --cri "" <token; then fail "it joined over the data of the member that it was"; fi
"$U" uninstall --purge
"$U" join --control-plane --cri "" <token
whole "c joined again"
