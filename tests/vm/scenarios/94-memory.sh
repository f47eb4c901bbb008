# needs: kube-apiserver kubelet coredns-image busybox-image
# Measures how much memory each service of a cluster uses, idle and with 30 pods, and prints tables. No figure is too high. What is
# measured does fail if it cannot be read. A page that several processes share counts for each with its part (PSS, see
# proc_pid_smaps(5)), so the figures can be added. Pages of files, which are the programs themselves, are in these figures, too; the
# kernel takes them back when memory is short, and reads them again.
K="usernetes kubectl"
PODS=30
# The promise for all services and CoreDNS of an idle cluster, in megabytes.
PROMISE=600
# How many snapshots are taken for a table, and the seconds between them.
SNAPSHOTS=5
PAUSE=10

# measure: takes snapshots, into the file `samples`, and makes sure that every running service is in them.
measure() {
    local unit
    : >samples
    for _ in $(seq $SNAPSHOTS); do
        sleep $PAUSE
        snapshot >>samples
    done
    if grep ^unreadable samples; then fail "the memory of these processes cannot be read"; fi
    for unit in $(systemctl --user list-units --plain --no-legend --state=running 'u7s-*.service' | cut -d' ' -f1); do
        unit=${unit#u7s-}
        grep -q "^[0-9]* ${unit%.service} " samples || fail "no process of $unit was found"
    done
}

# table TITLE [PROMISE]: prints the mean of the snapshots by service and pod, the largest first, and adds them up. The file `sums`
# gets the sums. The promise is about all services and CoreDNS.
table() {
    $K get pods --all-namespaces -o jsonpath='{range .items[*]}{.metadata.uid} {.metadata.namespace}/{.metadata.name}{"\n"}{end}' >names
    say "$1"
    awk -v promise="${2:-}" '
        function row(name, processes, megabytes, in_files, words) {
            printf "| %-44s | %9s | %8.1f | %10.1f |%s\n", name, processes, megabytes, in_files, words
        }
        function rule(    dashes) { dashes = sprintf("%46s|%11s|%10s|%12s|", "", "", "", ""); gsub(" ", "-", dashes); print "|" dashes }
        function number(value) { return sprintf("%.1f", value) }
        FILENAME == "names" { name[$1] = $2; next }
        $1 == "snapshot" { count++; next }
        {
            kind = "services"
            # RootlessKit has the container runtime and the network driver as its children.
            key = $2 == "rootlesskit" ? $2 ": " $4 : $2
            if ($3 != "-") {
                pod = $3 in name ? name[$3] : "(ended)"
                kind = pod ~ "^kube-system/coredns-" ? "dns" : "pods"
                key = pod ~ "^memory/" ? "pods of this scenario" : "pod " pod
            }
            memory[key] += $1
            files[key] += $6
            processes[key]++
            sum[kind] += $1
            files_sum[kind] += $6
            all[kind]++
        }
        END {
            unit = count * 1e6 / 1024
            printf "| %-44s | %9s | %8s | %10s |\n", "service or pod", "processes", "MB", "in files"
            rule()
            for (;;) {
                largest = ""
                for (key in memory) { if (largest == "" || memory[key] > memory[largest]) { largest = key } }
                if (largest == "") { break }
                row(largest, number(processes[largest] / count), memory[largest] / unit, files[largest] / unit, "")
                delete memory[largest]
            }
            rule()
            promised = sum["services"] + sum["dns"]
            promised_files = files_sum["services"] + files_sum["dns"]
            row("all services", number(all["services"] / count), sum["services"] / unit, files_sum["services"] / unit, "")
            row("all services and CoreDNS", number((all["services"] + all["dns"]) / count), promised / unit, promised_files / unit, \
                promise == "" ? "" : " promise: at most " promise " MB: " (promised / unit <= promise ? "holds" : "FALLS SHORT"))
            row("with all pods", number((all["services"] + all["dns"] + all["pods"]) / count), (promised + sum["pods"]) / unit, \
                (promised_files + files_sum["pods"]) / unit, "")
            print promised / unit, sum["pods"] / unit >"sums"
        }' names samples
    [ -s sums ] || fail "nothing was measured"
}

"$U" install
ready "a cluster"
$K delete namespace memory --ignore-not-found
# What a start leaves to be done is over then, and so is what services read once.
sleep 60
measure
table "idle" $PROMISE
mv sums idle

say "$PODS pods"
$K create namespace memory
sleepers memory sleepers $PODS
sleep 60
measure
table "with $PODS pods"
# Containers have processes of the container runtime beside their own, one for each pod.
awk -v pods=$PODS '
    NR == FNR { services = $1; own = $2; next }
    { printf "a pod costs %.1f MB: %.1f MB in services and %.1f MB of its own\n", ($1 - services + $2 - own) / pods, ($1 - services) / pods, ($2 - own) / pods }
' idle sums
[ "$(awk '$3 != "-" && $4 == "sleep" { print $3 }' samples | sort -u | wc -l)" -ge $PODS ] || fail "not all pods were measured"
$K delete namespace memory
rm samples names sums idle
