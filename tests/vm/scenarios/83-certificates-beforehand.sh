# needs: kube-apiserver kubelet flannel coredns-image busybox-image
# guests: 2 empty
# Tests the way of the shell scripts: all certificates are made on one machine, the worker gets its directory and needs no
# token, and then it is a worker like any other.
K="usernetes kubectl"
# on a
say "pki init"
"$U" pki init --master "a=$(address a)" --node "b=$(address b)" pki
[ -z "$(find pki -perm /077)" ] || fail "others may read something: $(find pki -perm /077)"
found=$(cd pki/b && find . -type f | sort | xargs)
expected=$(echo ./config.toml ./node/{ca.pem,node-client-key.pem,node-client.pem,node-key.pem,node.kubeconfig,node.pem})
[ "$found" = "$expected" ] || fail "b has $found"
(cd pki/a && sha256sum master/{,etcd-,front-proxy-}ca{,-key}.pem master/service-account{,-key}.pem) >authorities
answer=$("$U" pki init --master "a=$(address a)" --node "b=$(address b)" pki 2>&1) && fail "it was made again"
grep 'exists already' <<<"$answer" || fail "$answer"
tar -cf b.tar -C pki b
# copy a:b.tar b:b.tar
# on b
say "the worker is installed although there is no control plane"
tar -xf b.tar
answer=$("$U" install --start= --pki b --node-name c 2>&1) && fail "a directory of another node was taken"
grep 'these certificates are of another node' <<<"$answer" || fail "$answer"
"$U" install --start= --pki b
[ ! -e ~/.config/usernetes/master ] || fail "b has a control plane"
sha256sum ~/.config/usernetes/node/*.pem >certificates
# on a
say "install"
"$U" install --pki pki/a
(cd ~/.config/usernetes && sha256sum -c --quiet) <authorities || fail "a has other authorities"
# on b
"$U" install --start=u7s-node.target
sha256sum -c --quiet certificates || fail "b asked for other certificates"
usernetes status --wait=60
# on a
is_ready b || fail "b is not Ready"
$K get nodes -o wide
usernetes node list
web a b
within 90 "a pod of a reaches all" web_reaches a a b
within 90 "a pod of b reaches all" web_reaches b a b
[ "$($K exec web-b -- hostname)" = web-b ] || fail "exec"
# on b
say "its certificates renew themselves"
usernetes certs renew
for n in node node-client; do
    if grep "/$n\.pem" certificates | sha256sum -c --quiet 2>/dev/null; then fail "$n.pem is the same"; fi
done
usernetes certs list
say "with the directory again, they stay"
sha256sum ~/.config/usernetes/node/*.pem >certificates
"$U" install --pki b
sha256sum -c --quiet certificates || fail "they were replaced"
usernetes status --wait=60
# on a
within 60 "exec with the new certificate" sh -c "$K exec web-b -- hostname | grep -x web-b"
say "a token works as well"
usernetes node remove b
usernetes token create b >token
# copy a:token b:token
# on b
"$U" join <token
usernetes status --wait=60
# on a
is_ready b || fail "b is not Ready"
rm -r pki b.tar
# on b
rm -r b b.tar
