# needs: kube-apiserver kubelet coredns-image
# Tests that the cluster survives its certificates: the clock goes 400 days ahead while it runs, and while it is off.
ready "before"
pods >pods.before
[ -s pods.before ] || fail "there are no pods"
systemctl --user is-active u7s-certs.timer || fail "the timer does not run"
# clock +400 days
ready "400 days later"
usernetes kubectl -n kube-system delete configmap kube-root-ca.crt
within 60 "the controller manager works" usernetes kubectl -n kube-system get configmap kube-root-ca.crt
pods | diff pods.before - || fail "a pod was restarted"
rm pods.before
usernetes certs list --json | grep -qE '"days_left": ?36[45]' || fail "no certificate is new"
usernetes stop
# clock +400 days
systemctl --user start --no-block u7s.target
ready "800 days later"
if usernetes certs list | grep -E "expired|not valid"; then fail "a certificate is not valid"; fi
# The machine's clock is right again after the next start. Certificates from the future are not valid, and are renewed, too.
# clock -800 days
systemctl --user restart u7s-rootlesskit.service
ready "back in the present"
