# needs: kube-apiserver kubelet coredns-image
# Without systemd: `usernetes run` in a session that knows no service manager runs the same cluster, with the same data.
K="usernetes kubectl"
LOG=$HOME/run.log
# start_run COMMAND…: in the background, as on a machine without a service manager. Sets RUN, the process.
start_run() {
    env -u DBUS_SESSION_BUS_ADDRESS -u XDG_RUNTIME_DIR setsid "$@" </dev/null >"$LOG" 2>&1 &
    RUN=$!
}
is_up() { grep -q 'the cluster is up' "$LOG"; }
wait_up() {
    local start=$SECONDS
    until is_up; do
        kill -0 "$RUN" 2>/dev/null && [ $((SECONDS - start)) -lt 900 ] || { tail -40 "$LOG"; fail "$1"; }
        sleep 1
    done
    say "$1: up after $((SECONDS - start)) s"
    grep -E '^ *[0-9.]+ s  ' "$LOG"
}
works() { $K get --raw /readyz && $K wait --for=condition=Ready node --all --timeout=5s && $K -n kube-system wait --for=condition=Available deployment/coredns --timeout=5s; }
# nothing_left: no process in namespaces of ours, no socket, no mount, no cgroup.
nothing_left() {
    local left
    left=$(pgrep -u "$(id -u)" -a 'etcd|kube|containerd|rootlesskit|slirp4netns|usernetes' || true)
    [ -z "$left" ] || fail "processes are left: $left"
    [ ! -e "$DATA/run" ] && [ ! -e "/run/user/$(id -u)/usernetes" ] || fail "sockets are left: $(ls "$DATA/run" "/run/user/$(id -u)/usernetes" 2>&1)"
    ! grep -E 'usernetes|u7s' /proc/self/mountinfo || fail "mounts are left"
    left=$(find /sys/fs/cgroup -name 'u7s-*' -o -name rootlesskit_evac 2>/dev/null)
    [ -z "$left" ] || fail "cgroups are left: $left"
    say "nothing is left"
}
stop_run() {
    local start=$SECONDS
    kill -TERM "$RUN"
    wait "$RUN" || fail "the run ended with $?"
    tail -1 "$LOG"
    say "SIGTERM: the run has ended after $((SECONDS - start)) s"
    nothing_left
}

if systemctl --user is-active --quiet u7s-rootlesskit; then
    say "a cluster that systemd runs is left alone"
    if usernetes run 2>"$LOG"; then fail "run took it over"; fi
    grep 'your systemd runs this cluster' "$LOG"
    usernetes uninstall
fi
say "run"
start_run "$U" run --start u7s.target
wait_up "the first run"
usernetes status
usernetes status | grep 'supervised by `usernetes run`'
works >/dev/null || fail "the cluster does not work"
$K create configmap kept --from-literal=by=run
say "others are refused"
for command in install run; do
    if "$U" $command 2>refused; then fail "$command did not refuse"; fi
    grep 'the cluster is running under `usernetes run`' refused
done
rm refused
for program in etcd kube-apiserver containerd kubelet rootlesskit; do
    say "kill -9 $program"
    pkill -9 -x "$program" || fail "no process $program"
    sleep 3
    within 300 "$program: API, node and CoreDNS are back" works
done
usernetes logs etcd -n 3
usernetes stop kube-scheduler
usernetes start
say "stop"
stop_run
say "run again"
start_run usernetes run --quiet
wait_up "the second run"
[ "$($K get configmap kept -o 'jsonpath={.data.by}')" = run ] || fail "the object is gone"
say "the run dies, and what it ran with it"
kill -9 "$RUN"
wait "$RUN" 2>/dev/null || true
within 60 "no service is left" sh -c '! pgrep -u "$(id -u)" "etcd|kube-|containerd|rootlesskit|slirp4netns"'
say "systemd takes it over"
"$U" install --start u7s.target
[ "$($K get configmap kept -o 'jsonpath={.data.by}')" = run ] || fail "the object is gone"
$K delete configmap kept
usernetes status
rm "$LOG"
