# needs: kube-apiserver kubelet coredns-image busybox-image
# Tests that an image of the user's own is loaded into the running container runtime, and removed again.
K="usernetes kubectl"
own_image
running=$(pods)
say "image load"
usernetes image load mine.tar
usernetes image list | grep library/mine:1
own_image_runs
say "a damaged archive is refused"
head -c 100000 mine.tar >short.tar
if usernetes image load short.tar 2>refused; then fail "it was loaded"; fi
cat refused
grep -q short.tar refused || fail "the message does not name the file"
say "image rm"
usernetes image rm docker.io/library/mine:1
if usernetes image list | grep library/mine:1; then fail "it is still there"; fi
if usernetes image rm docker.io/library/mine:1; then fail "it was removed twice"; fi
[ "$(pods)" = "$running" ] || fail "a pod was restarted"
rm mine.tar short.tar refused
