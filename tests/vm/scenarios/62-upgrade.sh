# needs: kube-apiserver kubelet coredns-image
# Tests that a release that does not work goes away by itself, while a client writes all the time: what was acknowledged is
# there afterwards, and the pods are the same as before. Their containers start again, because the namespaces do.
# release broken-kubelet exits
# release broken-kube-apiserver hangs
# release broken-etcd exits

# Writes until the file `stop` is there. What the API server has acknowledged is in the file `acknowledged`.
write_all_the_time() {
    local number=0
    until [ -e stop ]; do
        number=$((number + 1))
        if timeout 20 usernetes kubectl create configmap "$1-$number" --request-timeout=5s >created 2>/dev/null; then
            echo "configmap/$1-$number" >>acknowledged
        fi
        sleep 0.2
    done
}

# returns PROGRAM: upgrades to the release in which this program is broken.
returns() {
    ready "before"
    pods | cut -d" " -f1 >pods.before
    [ -s pods.before ] || fail "there are no pods"
    generation=$(readlink "$DATA/current")
    rm -f stop
    : >acknowledged
    write_all_the_time "$1" &
    within 60 "the client writes" test -s acknowledged
    say "upgrade to a release with a broken $1"
    started=$SECONDS
    chmod +x "broken-$1"
    if "$U" upgrade --timeout 180 "broken-$1" 2>&1 | tee said; then fail "it was kept"; fi
    grep "does not work; generation" said || fail "it was never started"
    say "back after $((SECONDS - started)) s"
    [ "$(readlink "$DATA/current")" = "$generation" ] || fail "another generation than before"
    ready "the old release"
    sleep 3
    touch stop
    wait
    usernetes kubectl get configmaps -o name | sort >stored
    sort acknowledged | comm -23 - stored >lost
    say "acknowledged: $(wc -l <acknowledged), lost: $(wc -l <lost)"
    [ ! -s lost ] || fail "writes are lost: $(cat lost)"
    pods | cut -d" " -f1 | diff pods.before - || fail "the pods are not the same"
    sed s,^configmap/,, acknowledged | xargs usernetes kubectl delete configmap >/dev/null
    rm -f "broken-$1" stop acknowledged created stored lost said pods.before
}
for program in kubelet kube-apiserver etcd; do returns "$program"; done
