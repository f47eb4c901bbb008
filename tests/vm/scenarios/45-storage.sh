# needs: kube-apiserver kubelet coredns-image busybox-image local-path-provisioner-image
# Tests that a claim gets a volume, that its data comes back from a backup, and that services reach the machine's network by
# themselves.
K="usernetes kubectl"
usernetes port publish --auto=127.0.0.1
$K apply -f - <<Y
apiVersion: v1
kind: PersistentVolumeClaim
metadata: { name: data }
spec: { accessModes: [ReadWriteOnce], resources: { requests: { storage: 10Mi } } }
---
apiVersion: v1
kind: Pod
metadata: { name: stored, labels: { app: stored } }
spec:
  containers:
    - name: web
      image: docker.io/library/busybox:1.37
      imagePullPolicy: Never
      command: [sh, -c, "[ -e /data/index.html ] || echo kept >/data/index.html; chown 1234 /data/index.html; httpd -f -p 8080 -h /data"]
      volumeMounts: [{ name: data, mountPath: /data }]
  volumes: [{ name: data, persistentVolumeClaim: { claimName: data } }]
---
apiVersion: v1
kind: Service
metadata: { name: stored }
spec: { type: LoadBalancer, selector: { app: stored }, ports: [{ port: 18081, targetPort: 8080 }] }
Y
$K wait --for=condition=Ready pod/stored --timeout=180s
answers() { busybox wget -qO- http://127.0.0.1:18081/ | grep kept; }
within 60 "the service answers on the machine" answers
within 60 "its address is in its status" sh -c "$K get service stored -o jsonpath='{.status.loadBalancer.ingress[0].hostname}' | grep localhost"
usernetes port list | grep 'service default/stored'

say "backup, purge, restore"
usernetes backup with-data.tar
"$U" uninstall --purge
"$U" restore with-data.tar
rm with-data.tar
$K wait --for=condition=Ready pod/stored --timeout=180s
within 60 "the data of the claim is back" answers
$K exec stored -- stat -c %u /data/index.html | grep 1234

say "a port that is gone"
$K delete service stored
within 60 "nothing is published any more" sh -c '! usernetes port list | grep default/stored'
usernetes port unpublish --auto
$K delete pod --now stored
$K delete pvc data
