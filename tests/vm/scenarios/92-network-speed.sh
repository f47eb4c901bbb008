# needs: kube-apiserver kubelet flannel coredns-image busybox-image
# guests: 2 empty
# Measures the ways of packets and prints them beside the loopback interface of the same machine, measured in the same run. No
# figure is too low. What is measured does fail if it does not work at all. Machines that have pasta do it with both drivers.
K="usernetes kubectl"
# The host's own web server is at this address. Pods cannot use the machine's: inside the namespaces, that is the cluster's.
HOST=203.0.113.7
# How large the file is, in MiB, and for how many seconds each way carries it, again and again.
SIZE=64
SECONDS_EACH=5

# MEASURE: a script for any shell and any wget. It waits until a web server answers, takes the large file from it for some time and
# then a small one 100 times. It prints the machine's uptime, in seconds, before, between and after, and how often it has taken the
# large file.
# shellcheck disable=SC2016
MEASURE='
now() { read -r up rest </proc/uptime; echo "$up"; }
i=0
until wget -q -O /dev/null -T 5 "$1/"; do
    i=$((i + 1))
    [ $i -lt 60 ] || exit 1
    sleep 1
done
a=$(now)
n=0
until [ $n -gt 0 ] && [ $((${b%.*} - ${a%.*})) -ge "$2" ]; do
    wget -q -O /dev/null "$1/large" || exit 1
    n=$((n + 1))
    b=$(now)
done
i=0
while [ $i -lt 100 ]; do wget -q -O /dev/null "$1/" || exit 1; i=$((i + 1)); done
echo "$a $b $(now) $n"'

# from_host URL, from_pod POD URL: measures from this machine or from inside a pod.
from_host() { busybox sh -c "wget() { busybox wget \"\$@\"; }; $MEASURE" measure "http://$1" $SECONDS_EACH; }
from_pod() { $K exec "$1" -- sh -c "$MEASURE" measure "http://$2" $SECONDS_EACH; }

# way NAME COMMAND…: measures with the command, and prints a line of the table. The first line is what the others are compared to.
way() {
    local name=$1 measured
    shift
    measured=$("$@") || fail "$name: no answer"
    [ -e loopback ] || echo "$measured" >loopback
    awk -v name="$name" -v size=$SIZE '
        function seconds(time) { return time > 0.01 ? time : 0.01 }
        { speed[NR] = $4 * size * 1.048576 / seconds($2 - $1); request[NR] = seconds($3 - $2) * 10 }
        END { printf "| %-42s | %8.1f | %6.3f | %8.2f | %6.1f |\n", name, speed[2], speed[2] / speed[1], request[2], request[2] / request[1] }
    ' loopback - <<<"$measured"
}

# head_of_table DRIVER
head_of_table() {
    say "the network with $1"
    printf '| %-42s | %8s | %6s | %8s | %6s |\n' "way" "MB/s" "ratio" "ms/req." "ratio"
    printf '|%s|%s|%s|%s|%s|\n' "$(printf '%044d' 0 | tr 0 -)" ---------- -------- ---------- --------
}

# serve: runs a web server of this machine on all its addresses.
serve() {
    mkdir -p served
    hostname >served/index.html
    dd if=/dev/zero of=served/large bs=1M count=$SIZE status=none
    busybox httpd -p 18000 -h served
}

# pod NAME NODE: runs a web server in a pod, which measures, too.
pod() {
    $K apply -f - <<Y
apiVersion: v1
kind: Pod
metadata: { name: $1, labels: { app: $1 } }
spec:
  nodeName: $2
  terminationGracePeriodSeconds: 1
  containers:
    - name: c
      image: docker.io/library/busybox:1.37
      imagePullPolicy: Never
      command: [sh, -c, "mkdir -p /w; hostname >/w/index.html; dd if=/dev/zero of=/w/large bs=1M count=$SIZE; exec httpd -f -p 8080 -h /w"]
Y
}

# new_pods: makes the pods anew and waits for them.
new_pods() {
    $K delete pod --ignore-not-found --now near far client
    pod near a
    pod client a
    pod far b
    $K wait --for=condition=Ready pod/near pod/client pod/far --timeout=300s
}

# ip_of POD: prints its address.
ip_of() { $K get pod "$1" -o jsonpath='{.status.podIP}'; }

# ways DRIVER: measures all ways and prints the table.
ways() {
    new_pods
    head_of_table "$1"
    rm -f loopback
    way "host, by its loopback interface" from_host 127.0.0.1:18000
    way "host to the other machine" from_host "$(address b):18000"
    way "pod to an address of its host" from_pod client $HOST:18000
    way "pod to the other machine" from_pod client "$(address b):18000"
    way "host to a pod, by a published port" from_host 127.0.0.1:30091
    way "pod to pod" from_pod client "$(ip_of near):8080"
    way "pod to pod, by the service's address" from_pod client near
    way "pod to pod of the other machine (VXLAN)" from_pod client "$(ip_of far):8080"
}
# on a
# root ip address add 203.0.113.7/32 dev lo
found_cluster
usernetes token create >token
serve
# copy a:token b:token
# on b
member
serve
# on a
is_ready b || fail "b is not Ready"
$K apply -f - <<Y
apiVersion: v1
kind: Service
metadata: { name: near }
spec: { type: NodePort, selector: { app: near }, ports: [{ port: 80, targetPort: 8080, nodePort: 30091 }] }
Y
usernetes port publish 127.0.0.1:30091:30091/tcp
ways slirp4netns
# on b
if ! command -v pasta; then
    say "this machine has no pasta"
    exit 0
fi
usernetes install --network-driver pasta
grep '^driver = "pasta"' ~/.config/usernetes/config.toml || fail "the driver is not in the configuration"
pgrep -u "$(id -u)" pasta || fail "pasta does not run"
# on a
command -v pasta || exit 0
usernetes install --network-driver pasta
ready "with pasta"
within 120 "b with pasta" is_ready b
ways pasta
usernetes node list
# on a
$K delete pod --now near far client
$K delete service near
usernetes port unpublish 127.0.0.1:30091:30091/tcp
for pid in $(pgrep -u "$(id -u)" -f 'busybox httpd -p 18000'); do kill "$pid"; done
rm -r served loopback token
# on b
for pid in $(pgrep -u "$(id -u)" -f 'busybox httpd -p 18000'); do kill "$pid"; done
rm -r served token
