# needs: kube-apiserver kubelet flannel coredns-image busybox-image
# guests: 2 empty
# Tests that a second machine joins with a token, that the pods of both reach each other, and that no authority leaves the first.
K="usernetes kubectl"
# key_names DIRECTORY…: prints the public key of each private key in files below, in whatever file it is.
key_names() {
    local file
    { grep -rlI -e '-----BEGIN [A-Z ]*PRIVATE KEY-----' "$@" || true; } | while read -r file; do openssl pkey -in "$file" -pubout -outform DER | sha256sum; done
}
# hidden_keys: names the files that contain a key in base64, such as the administrator's kubeconfig.
hidden_keys() { grep -rlIE 'LS0tLS1CRUdJTi(BFQyBQ|BQ)UklWQVRF' ~/.config; }
# on a
say "install"
found_cluster
usernetes token create >token
# copy a:token b:token
# on b
say "join"
start=$SECONDS
"$U" join <token 2>&1 | tee join.log
unpack=$(sed -n 's/^ *\([0-9]*\)\.[0-9]* s  unpack$/\1/p' join.log)
took=$((SECONDS - start - unpack))
rm join.log
say "Ready $took s after the $unpack s of unpacking"
# A machine that has other work to do takes longer for everything, and has more time.
[ "$took" -le $((unpack > 45 ? 2 * unpack : 90)) ] || fail "join took $took s"
say "the token was for one machine"
answer=$("$U" join --name z <token 2>&1) && fail "another name joined with it"
grep 'the token was used by the node "b" already' <<<"$answer" || fail "$answer"
usernetes status --wait=60
# on a
is_ready b || fail "b is not Ready"
$K get nodes -o wide
usernetes node list
web a b
within 90 "a pod of a reaches all" web_reaches a a b
within 90 "a pod of b reaches all" web_reaches b a b
say "logs, exec and port-forward"
for n in a b; do
    within 30 "the log of web-$n" sh -c "$K logs web-$n | grep -x started"
    [ "$($K exec web-$n -- hostname)" = web-$n ] || fail "exec"
done
$K port-forward pod/web-b 18082:8080 >/dev/null 2>&1 &
forward=$!
within 60 "an answer through port-forward" sh -c 'busybox wget -qO- http://127.0.0.1:18082 | grep -x web-b'
kill $forward
say "a node port at each machine"
$K apply -f - <<Y
apiVersion: v1
kind: Service
metadata: { name: any }
spec: { type: NodePort, selector: { web: any }, ports: [{ port: 80, targetPort: 8080, nodePort: 30090 }] }
Y
usernetes port publish 0.0.0.0:30090:30090/tcp
# on b
usernetes port publish 0.0.0.0:30090:30090/tcp
within 60 "a answers" sh -c "busybox wget -qO- -T 5 http://$(address a):30090 | grep web-"
# on a
within 60 "b answers" sh -c "busybox wget -qO- -T 5 http://$(address b):30090 | grep web-"
$K delete service any
say "keys of authorities"
for n in ca-key etcd-ca-key front-proxy-ca-key service-account-key; do
    openssl pkey -in ~/.config/usernetes/master/$n.pem -pubout -outform DER | sha256sum
done >authorities
[ "$(key_names ~ "$XDG_RUNTIME_DIR" 2>/dev/null | sort -u | grep -cxFf authorities)" = 4 ] || fail "the search does not find them on a"
hidden_keys || fail "the search finds no key inside a file of a"
# copy a:authorities b:authorities
# on b
found=$(key_names ~ "$XDG_RUNTIME_DIR" 2>/dev/null | sort -u)
[ -n "$found" ] || fail "the search finds no key at all"
if grep -xFf authorities <<<"$found"; then fail "b has the key of an authority"; fi
say "$(wc -l <<<"$found") keys, and none of them is that of an authority"
if hidden_keys; then fail "b has a key inside a file"; fi
# on a
say "secrets of pods on each machine"
for n in a b; do
    $K create secret generic of-$n --from-literal=x=y
    $K run secret-$n --image=docker.io/library/busybox:1.37 --image-pull-policy=Never \
        --overrides="{\"spec\":{\"nodeName\":\"$n\",\"volumes\":[{\"name\":\"s\",\"secret\":{\"secretName\":\"of-$n\"}}]}}" --command -- sleep 100000
    $K wait --for=condition=Ready pod/secret-$n --timeout=180s
done
# on b
own() { usernetes nsenter kubectl --kubeconfig "$HOME/.config/usernetes/node/node.kubeconfig" "$@"; }
refused() {
    local answer
    answer=$(own "$@" 2>&1) && fail "$*: answered"
    grep -qiE 'forbidden|unauthorized' <<<"$answer" || fail "$*: $answer"
    say "$*: refused"
}
own get secret of-b
refused get secret of-a
refused get secrets -A
refused label node a x=y
refused create token default
# on a
$K delete pod --now secret-a secret-b
$K delete secret of-a of-b
