# needs: kube-apiserver kubelet coredns-image
# Tests a port that another user takes before the machine starts: all else works, and it is published when it becomes free.
usernetes port publish 127.0.0.1:18082:10256/tcp
answers() { busybox wget -qO- http://127.0.0.1:18082/healthz; }
within 60 "kube-proxy answers at the port" answers
# root printf '[Socket]\nListenStream=18082\nAccept=yes\n[Install]\nWantedBy=sockets.target\n' >/etc/systemd/system/taken.socket
# root printf '[Service]\nExecStart=/bin/true\n' >/etc/systemd/system/taken@.service && systemctl --quiet enable taken.socket
# reboot
answers() { busybox wget -qO- http://127.0.0.1:18082/healthz; }
ready "after the start"
usernetes port list | grep 18082
if usernetes port list --json | tr -d ' \n' | grep '18082[^}]*"open":true'; then fail "it cannot be published"; fi
usernetes status | grep -i port
if answers; then fail "another user has this port"; fi
# root systemctl --quiet disable --now taken.socket
answers() { busybox wget -qO- http://127.0.0.1:18082/healthz; }
within 120 "it is published when it is free" answers
usernetes port unpublish 127.0.0.1:18082:10256/tcp
within 30 "it is not published any more" sh -c '! busybox wget -qO- http://127.0.0.1:18082/healthz'
# root rm /etc/systemd/system/taken.socket /etc/systemd/system/taken@.service
