# needs: kube-apiserver kubelet flannel coredns-image busybox-image
# guests: 2
# Tests the reasons for which a machine is not let in. Each has its message, and nothing is left behind.
K="usernetes kubectl"
# refused TOKEN TEXT OPTION…: fails unless `join` refuses with this text and leaves everything as it was.
refused() {
    local answer token=$1 text=$2
    shift 2
    answer=$("$U" join "$@" <"$token" 2>&1) && fail "not refused: $text"
    grep -qE "$text" <<<"$answer" || fail "expected: $text; found: $answer"
    home_and_runtime | diff /tmp/before - || fail "something is left behind: $text"
    say "$(grep -oE "$text" <<<"$answer")"
}
# The columns of b for: it is ready, the API server reaches its kubelet, packets pass between its pods and those of a.
ways() { usernetes node list | awk '$1 == "b" { print $6, $7, $8 }'; }
is_open() { [ "$(ways)" = "yes yes yes" ]; }
# on a
found_cluster
if $K get node b; then usernetes node remove b; fi
usernetes token create >token
usernetes token create z >other-name
usernetes token create --ttl 1s >expired
say "a token of another cluster at the same address"
json=$(cut -c6- token)
while [ $((${#json} % 4)) != 0 ]; do json+="="; done
basenc --base64url -d <<<"$json" | sed -E 's/("c":"[^"]*)0"/\11"/; t; s/("c":"[^"]*)."/\10"/' >json
echo "u7s1.$(basenc --base64url -w0 json | tr -d =)" >other-cluster
if cmp token other-cluster; then fail "the token is the same"; fi
say "a machine with a cluster"
answer=$("$U" join <token 2>&1) && fail "it joined itself"
grep 'this machine has a cluster of its own' <<<"$answer" || fail "$answer"
# copy a:token b:token
# copy a:other-name b:other-name
# copy a:expired b:expired
# copy a:other-cluster b:other-cluster
# on b
"$U" uninstall --purge
echo nonsense >nonsense
home_and_runtime >/tmp/before
refused nonsense 'this is not a token'
refused other-cluster 'the server at 10\.0\.2\.16:6443 is not the cluster of this token'
refused expired 'the token is unknown or has expired'
refused other-name 'the token is for the node "z" and no other one'
refused token 'a node "a" is Ready in this cluster already' --name a
refused token 'overlaps' --cidr 10.0.0.0/16
# clock +14 minutes
refused token "clock is .*14 minutes"
# clock -14 minutes
# root ip route add 10.5.7.0/24 via 10.0.2.2
refused token 'this machine has a route to 10\.5\.7\.0/24'
# root ip route delete 10.5.7.0/24
# cut a
refused token '10\.0\.2\.16:6443 does not answer'
# heal a
# on a
[ "$($K get nodes -o name)" = node/a ] || fail "a node is left behind"
usernetes token delete "$(sed -E 's/.*"i":"([^"]*)".*/\1/' json)"
# on b
refused token 'the token is unknown or has expired'
# on a
say "a firewall that lets nothing of the pod network through"
usernetes token create b >token
# copy a:token b:token
# on b
# root nft 'table inet closed { chain input { type filter hook input priority 0; udp dport 8472 drop; }; }'
answer=$("$U" join <token 2>&1) && fail "no way is closed"
grep 'nothing came back over 8472/udp' <<<"$answer" || fail "$answer"
grep 'this machine has joined, and needs no new token' <<<"$answer" || fail "$answer"
usernetes status --wait=60
# on a
is_ready b || fail "b is not Ready"
[ "$(ways)" = "yes yes no" ] || fail "$(usernetes node list)"
# on b
# root nft delete table inet closed
# on a
within 60 "the way is open" is_open
web a b
within 90 "a pod of a reaches all" web_reaches a a b
within 90 "a pod of b reaches all" web_reaches b a b
