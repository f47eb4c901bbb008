# needs: etcd containerd rootlesskit
# Nothing stays behind, not even what belongs to the user's subordinate ids.
"$U" install --start "" >/dev/null
usernetes uninstall
[ -z "$(ls ~/.config/systemd/user 2>/dev/null | grep u7s || true)" ] || fail "units are left"
command=$("$U" show-cleanup-command)
say "$command"
eval "$command"
for path in ~/.local/share/usernetes ~/.config/usernetes "$XDG_RUNTIME_DIR/usernetes"; do
    [ ! -e "$path" ] || fail "$path is left"
done
say "nothing is left"
