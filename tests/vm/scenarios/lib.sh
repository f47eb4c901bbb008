# This file is put before every scenario. Each scenario runs in a new login of the unprivileged user, in the user's home.
set -euo pipefail
U=$HOME/usernetes-x86_64
DATA=$HOME/.local/share/usernetes
BIN=$DATA/current/bin
export PATH=$BIN:$PATH

# say TEXT: prints a line of progress with the machine's uptime.
say() { printf '%8.1f  %s\n' "$(cut -d' ' -f1 /proc/uptime)" "$*"; }

# fail REASON: ends the scenario with a failure.
fail() { say "FAILED: $*"; exit 1; }

# within SECONDS TEXT COMMAND…: repeats the command until it succeeds. Fails after this time.
within() {
    local limit=$1 what=$2 start=$SECONDS
    shift 2
    until "$@" >/dev/null 2>&1; do
        if [ $((SECONDS - start)) -ge "$limit" ]; then
            "$@" || true
            fail "$what: not within $limit s"
        fi
        sleep 1
    done
    say "$what: after $((SECONDS - start)) s"
}

# ready TEXT: waits until every layer of the cluster works.
ready() { within 300 "$1: API, node and CoreDNS are back" sh -c "usernetes kubectl get --raw /readyz && usernetes kubectl wait --for=condition=Ready node --all --timeout=5s && usernetes kubectl -n kube-system wait --for=condition=Available deployment/coredns --timeout=5s && ! usernetes status | grep -E ' (starting|stopped|broken) '"; }

# pods: lists all pods by their ids, and how often each container was restarted.
pods() { usernetes kubectl get pods --all-namespaces -o jsonpath='{range .items[*]}{.metadata.uid} {.status.containerStatuses[*].restartCount}{"\n"}{end}' | sort; }

# own_image: makes an image of the user's own from one of the bundle, with containerd, as the file mine.tar.
own_image() {
    local ctr="usernetes ctr -n k8s.io images"
    $ctr tag --force docker.io/library/busybox:1.37 docker.io/library/mine:1
    $ctr export mine.tar docker.io/library/mine:1
    $ctr rm docker.io/library/mine:1
}

# own_image_runs: makes sure that a pod of it runs.
own_image_runs() {
    local k="usernetes kubectl"
    $k run mine --image=docker.io/library/mine:1 --image-pull-policy=Never --restart=Never --command -- echo "it runs"
    within 90 "a pod of it ends well" sh -c "$k get pod mine -o jsonpath='{.status.phase}' | grep Succeeded"
    $k logs mine | grep -x "it runs"
    $k delete pod --now mine
}

# home_and_runtime: lists the files in the user's directories, without those of the service manager.
home_and_runtime() { find ~ "$XDG_RUNTIME_DIR" -maxdepth 4 -path "$XDG_RUNTIME_DIR/systemd" -prune -o -print | sort; }

# sleepers NAMESPACE NAME COUNT: runs a deployment of pods that do nothing, and waits until all are there.
sleepers() {
    usernetes kubectl -n "$1" apply -f - <<Y
apiVersion: apps/v1
kind: Deployment
metadata: { name: $2 }
spec:
  replicas: $3
  selector: { matchLabels: { run: $2 } }
  template:
    metadata: { labels: { run: $2 } }
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: c
          image: docker.io/library/busybox:1.37
          imagePullPolicy: Never
          command: [sleep, "100000"]
Y
    usernetes kubectl -n "$1" rollout status "deployment/$2" --timeout=900s
}

# snapshot: prints the word `snapshot`, and then a line for each process of the cluster: its memory in KiB (PSS), its service, the
# uid of its pod or `-`, its program, its number, and how much of its memory are pages of files: its program, nearly always.
snapshot() {
    echo snapshot
    awk '
        # The first line of a file in which the pattern occurs, or nothing.
        function line(file, pattern,    text, found) {
            while ((getline text <file) > 0) {
                if (text ~ pattern) { found = text; break }
            }
            close(file)
            return found
        }
        BEGIN {
            for (i = 1; i < ARGC; i++) {
                group = line(ARGV[i] "/cgroup", "/u7s-[^/]*[.]service")
                if (group == "") { continue }
                service = group
                sub("^.*/u7s-", "", service)
                sub("[.]service.*$", "", service)
                pod = "-"
                if (match(group, "/pod[0-9a-f-]+")) { pod = substr(group, RSTART + 4, RLENGTH - 4) }
                pss = files = ""
                # The kernel looks at all pages of a process for each reading.
                rollup = ARGV[i] "/smaps_rollup"
                while ((getline text <rollup) > 0) {
                    split(text, words, " ")
                    if (words[1] == "Pss:") { pss = words[2] }
                    if (words[1] == "Pss_File:") { files = words[2] }
                }
                close(rollup)
                # A process that has ended meanwhile has no memory.
                if (pss == "") {
                    if (line(ARGV[i] "/status", "^VmRSS:") == "") { continue }
                    pss = "unreadable"
                }
                program = line(ARGV[i] "/comm", ".")
                gsub(" ", "_", program)
                print pss, service, pod, program, substr(ARGV[i], 7), files + 0
            }
        }' /proc/[0-9]*
}

# Of scenarios for several machines. `# on` and the lines like it are explained in tests/support/scenario.rs.

# address MACHINE: prints its address.
address() { getent hosts "$1" | { read -r address _ && echo "$address"; }; }

# found_cluster: makes sure that this machine has a cluster that others can join.
found_cluster() { "$U" install --address "$(address "$(hostname)")" --cni flannel; }

# member OPTION…: makes sure that this machine belongs to the cluster of the token in the file `token`.
member() { systemctl --user is-active --quiet u7s-node.target || "$U" join "$@" <token; }

# says_ready NODE: prints whether the cluster takes it for ready: True, False or, if it does not hear from it, Unknown.
says_ready() { usernetes kubectl get node "$1" -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}'; }
is_ready() { [ "$(says_ready "$1")" = True ]; }
is_missed() { [ "$(says_ready "$1")" = Unknown ]; }

# web NODE…: runs a web server on each of these nodes, as the pod web-NODE and the service at-NODE. It answers with its name, and
# stays although its node is not reached for a long time.
web() {
    local node
    for node; do
        usernetes kubectl apply -f - <<Y
apiVersion: v1
kind: Pod
metadata: { name: web-$node, labels: { app: web-$node, web: any } }
spec:
  nodeName: $node
  terminationGracePeriodSeconds: 1
  tolerations: [{ operator: Exists }]
  containers:
    - name: c
      image: docker.io/library/busybox:1.37
      imagePullPolicy: Never
      command: [sh, -c, "mkdir -p /w; hostname >/w/index.html; echo started; exec httpd -f -p 8080 -h /w"]
---
apiVersion: v1
kind: Service
metadata: { name: at-$node }
spec: { selector: { app: web-$node }, ports: [{ port: 80, targetPort: 8080 }] }
Y
    done
    for node; do usernetes kubectl wait --for=condition=Ready "pod/web-$node" --timeout=180s; done
}

# web_reaches FROM TO…: whether the pod web-FROM gets the answers of the others by address, by service and by full name.
web_reaches() {
    local from=$1 to targets="" expected=""
    shift
    for to; do
        targets+=" $(usernetes kubectl get pod "web-$to" -o jsonpath='{.status.podIP}'):8080 at-$to at-$to.default.svc.cluster.local"
        expected+=$(printf '%s ' "web-$to" "web-$to" "web-$to")" "
    done
    [ "$(usernetes kubectl exec "web-$from" -- sh -c "for t in $targets; do wget -qO- -T 5 http://\$t; done" | xargs)" = "$(xargs <<<"$expected")" ]
}
