# needs: etcd
# Tests the store: unpack, verify, install again, damage a file, repair it.
home_and_runtime >/tmp/before
say "unpack"
"$U" install --start=
"$U" verify
"$BIN/usernetes" verify
say "again: nothing to do"
before=$(stat -c %i "$(readlink -f "$BIN/etcd")")
"$U" install --start=
[ "$before" = "$(stat -c %i "$(readlink -f "$BIN/etcd")")" ] || fail "a second install replaced files"
say "programs run"
etcd --version | sed -n 1p
kubectl version --client | sed -n 1p
crun --version | sed -n 1p
say "a damaged file is found and mended"
file=$(readlink -f "$BIN/etcdctl")
chmod u+w "$file"
printf X | dd of="$file" bs=1 seek=1000 conv=notrunc status=none
! "$BIN/usernetes" verify || fail "verify did not see the damage"
truncate -s -1 "$file"
"$U" install --start=
"$BIN/usernetes" verify
