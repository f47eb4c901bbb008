# needs: kube-apiserver etcd
# Tests that etcd's file gets smaller when much of it is unused.
E="usernetes etcdctl"
size() { $E endpoint status --write-out=json | sed 's/.*"dbSize":\([0-9]*\).*/\1/'; }
say "much is written and deleted"
head -c 700000 /dev/urandom | base64 >value
for i in $(seq 160); do $E put "/scratch/$i" <value >/dev/null; done
full=$(size)
$E del --prefix /scratch/
$E compact "$($E endpoint status --write-out=json | sed 's/.*"revision":\([0-9]*\).*/\1/')"
[ "$(size)" -ge "$full" ] || fail "it is smaller already"
say "the timer's service runs"
systemctl --user list-timers --all | grep u7s-etcd-defrag.timer
systemctl --user start u7s-etcd-defrag.service
journalctl --user -u u7s-etcd-defrag.service -b -o cat | grep "defragmented etcd's file"
[ "$(size)" -lt $((full / 3)) ] || fail "$full bytes before, $(size) now"
say "$full bytes before, $(size) now"
ready "afterwards"
rm value
