# needs: kube-apiserver kubelet flannel coredns-image busybox-image
# guests: 2
# Tests that a worker heals by itself after it was cut off and after a power loss, and that it can be removed and join again.
K="usernetes kubectl"
identity() { $K get pod web-b -o jsonpath='{.metadata.uid} {.status.containerStatuses[0].restartCount}'; }
restarted() { [ "$($K get pod web-b -o jsonpath='{.status.containerStatuses[0].restartCount}')" = 1 ] && is_ready b; }
# on a
found_cluster
usernetes token create b >token
# copy a:token b:token
# on b
member
# on a
web a b
identity >before
say "b is cut off for 10 minutes"
date +%s >cut
# cut b
# on a
within 110 "the cluster misses b" is_missed b
while [ $(($(date +%s) - $(cat cut))) -lt 600 ]; do sleep 1; done
# heal b
# on a
within 60 "b is Ready" is_ready b
within 60 "its pod answers" web_reaches a b
within 60 "it reaches the others" web_reaches b a
[ "$(identity)" = "$(cat before)" ] || fail "the pod is another one"
say "b loses its power"
# kill b
# start b
# on a
within 240 "b and its pod are back" restarted
$K wait --for=condition=Ready pod/web-b --timeout=60s
within 60 "its pod answers" web_reaches a b
within 60 "it reaches the others" web_reaches b a
$K logs web-b | grep -x started
# on b
usernetes status --wait=60
# on a
say "b is removed"
usernetes node remove b
sleep 20
[ "$($K get nodes -o name)" = node/a ] || fail "it came back by itself"
usernetes token create b >token
# copy a:token b:token
# on b
"$U" join <token
# on a
is_ready b || fail "b is not Ready"
web b
within 60 "its pod answers" web_reaches a b
within 60 "it reaches the others" web_reaches b a
