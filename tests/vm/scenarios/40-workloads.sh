# needs: kube-apiserver kubelet coredns-image busybox-image
# Tests common uses of a cluster: run, logs, exec, port-forward, services, names, limits, node ports.
K="usernetes kubectl"
IMAGE=docker.io/library/busybox:1.37
$K create namespace scenario 2>/dev/null || true
K="$K -n scenario"

say "a pod with limits"
$K apply -f - <<Y
apiVersion: v1
kind: Pod
metadata: { name: limited }
spec:
  containers:
    - name: c
      image: $IMAGE
      imagePullPolicy: Never
      command: [sh, -c, "echo started; sleep 100000"]
      resources: { limits: { memory: 42Mi, cpu: 420m } }
Y
$K wait --for=condition=Ready pod/limited --timeout=180s
$K logs limited | grep started
[ "$($K exec limited -- cat /sys/fs/cgroup/memory.max)" = 44040192 ] || fail "memory.max"
[ "$($K exec limited -- cat /sys/fs/cgroup/cpu.max)" = "42000 100000" ] || fail "cpu.max"
say "limits hold; exec with input"
[ "$(echo through | $K exec -i limited -- cat)" = through ] || fail "exec -i"

say "a headless service and its stateful set"
$K apply -f - <<Y
apiVersion: v1
kind: Service
metadata: { name: dnstest }
spec: { clusterIP: None, selector: { run: dnstest }, ports: [{ port: 80 }] }
---
apiVersion: apps/v1
kind: StatefulSet
metadata: { name: dnstest }
spec:
  serviceName: dnstest
  replicas: 3
  podManagementPolicy: Parallel
  selector: { matchLabels: { run: dnstest } }
  template:
    metadata: { labels: { run: dnstest } }
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: c
          image: $IMAGE
          imagePullPolicy: Never
          command: [sh, -c, "mkdir -p /www; hostname > /www/index.html; exec httpd -f -p 80 -h /www"]
---
apiVersion: v1
kind: Service
metadata: { name: web }
spec: { type: NodePort, selector: { run: dnstest }, ports: [{ port: 80, nodePort: 30080 }] }
Y
$K rollout status statefulset/dnstest --timeout=300s
for n in 0 1 2; do
    within 60 "dnstest-$n by name" sh -c "$K exec limited -- wget -qO- -T 5 http://dnstest-$n.dnstest.scenario.svc.cluster.local | grep -x dnstest-$n"
done
say "a cluster IP, its name, and hairpin"
within 60 "the service by its short name" sh -c "$K exec limited -- wget -qO- -T 5 http://web | grep dnstest-"
for _ in 1 2 3 4 5 6; do $K exec dnstest-0 -- wget -qO- -T 5 http://web >/dev/null || fail "hairpin"; done
say "from a pod to the API server"
$K exec limited -- nc -w 5 10.0.0.1 443 </dev/null || fail "10.0.0.1:443"
say "port-forward"
$K port-forward pod/dnstest-1 18081:80 >/dev/null 2>&1 &
forward=$!
within 60 "an answer through port-forward" sh -c 'busybox wget -qO- http://127.0.0.1:18081 | grep -x dnstest-1'
kill $forward
say "a node port on the host"
usernetes rootlessctl add-ports 0.0.0.0:30080:30080/tcp
within 60 "an answer on the node port" sh -c 'busybox wget -qO- http://127.0.0.1:30080 | grep dnstest-'
