# needs: etcd
# The store on a file system of its own: unpack, verify, again, damage, repair.
say "unpack"
"$U" install --start=
"$U" verify
"$BIN/usernetes" verify
say "again: nothing to do"
before=$(stat -c %i "$(readlink -f "$BIN/etcd")")
"$U" install --start=
[ "$before" = "$(stat -c %i "$(readlink -f "$BIN/etcd")")" ] || fail "a second install replaced files"
say "programs run"
etcd --version | head -n 1
kubectl version --client | head -n 1
crun --version | head -n 1
say "a damaged file is found and mended"
file=$(readlink -f "$BIN/etcdctl")
chmod u+w "$file"
printf X | dd of="$file" bs=1 seek=1000 conv=notrunc status=none
! "$BIN/usernetes" verify || fail "verify did not see the damage"
truncate -s -1 "$file"
"$U" install --start=
"$BIN/usernetes" verify
