# needs: etcd containerd rootlesskit
# Tests that uninstalling leaves nothing behind, not even files of the user's subordinate ids.
"$U" install --start "" >/dev/null
usernetes uninstall
[ -z "$(ls ~/.config/systemd/user 2>/dev/null | grep u7s || true)" ] || fail "units are left"
command=$("$U" show-cleanup-command)
say "$command"
eval "$command"
# A scenario made this directory, not the installation.
rm -rf ~/rootfs
home_and_runtime >/tmp/after
diff /tmp/before /tmp/after || fail "not everything is as before"
say "everything is as before"
