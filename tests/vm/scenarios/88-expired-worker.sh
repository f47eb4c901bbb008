# needs: kube-apiserver kubelet flannel coredns-image busybox-image
# guests: 2
# Tests that a worker whose certificate has expired while it was off says so, and joins again with a new token.
K="usernetes kubectl"
# on a
found_cluster
usernetes token create b >token
# copy a:token b:token
# on b
member
usernetes stop
# clock +400 days
# on a
# clock +400 days
# on a
ready_alone() { within 300 "API and node are back" sh -c "usernetes kubectl get --raw /readyz && usernetes kubectl wait --for=condition=Ready node/a --timeout=5s"; }
ready_alone
# on b
answer=$(usernetes start 2>&1) && fail "it starts with an expired certificate"
{ usernetes status || true; usernetes logs rootlesskit || true; echo "$answer"; } 2>&1 | grep "this machine's certificate has expired"
# on a
# It was off for a year, and the cluster knows that.
within 110 "the cluster misses b" is_missed b
usernetes token create b >token
# copy a:token b:token
# on b
"$U" join <token
# on a
is_ready b || fail "b is not Ready"
web a b
within 60 "its pod answers" web_reaches a b
within 60 "it reaches the others" web_reaches b a
